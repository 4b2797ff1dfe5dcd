//! The fuzz target on a stable compiler: random bytes, and messages with random changes.

#[path = "../../../fuzz/src/cluster.rs"]
mod target;

/// Changes a debug build gets through in seconds; `CELERIAC_FUZZ` asks for more.
fn rounds() -> usize {
    std::env::var("CELERIAC_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000)
}

/// xorshift64: the same changes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Changes a few bytes, lengths or order.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let telling = b"\"[]{}:,0-\\eE.9fN\xff";
        let mut data = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len());
            match self.below(6) {
                _ if data.is_empty() => data.push(self.next() as u8),
                0 => data[at] ^= 1 << self.below(8),
                1 => data[at] = telling[self.below(telling.len())],
                2 => data.insert(at, telling[self.below(telling.len())]),
                3 => drop(data.remove(at)),
                4 => data.truncate(at.max(data.len() / 2)),
                _ => {
                    let end = (at + self.below(40)).min(data.len());
                    let copy = data[at..end].to_vec();
                    data.splice(at..at, copy);
                }
            }
        }
        data
    }
}

#[test]
fn cluster_messages() {
    let digests = vec![r#""00000000000000ff""#; 64].join(",");
    let member = r#"[1,"w1@host",1800000000000,"0000000000000001",42,2.0,"celeriac","0.1.0","Linux"]"#;
    let node = r#""node":"0000000000000001""#;
    let seeds = [
        format!(
            r#"{{"type":"beat",{node},"hostname":"w1@host","term":1,"seq":3,"interval":5.0,"version":2,"size":2,"digest":"00000000000000aa","watchers":["0000000000000001","0000000000000002"],"sure":true,"revoked":"0000000000000000","clock":7}}"#
        ),
        format!(
            r#"{{"type":"change",{node},"term":1,"version":9,"steps":[["joined",{member}],["left","w2@host",5],["lost","w3@host",6]]}}"#
        ),
        format!(
            r#"{{"type":"snapshot",{node},"term":1,"version":9,"members":[{member},[2,"w2@host",7,null,null,2.0,null,null,null]],"departures":[[8,"lost","w3@host",6]]}}"#
        ),
        format!(r#"{{"type":"ask",{node}}}"#),
        format!(r#"{{"type":"probe",{node}}}"#),
        format!(r#"{{"type":"compare",{node},"starts":true,"buckets":[{digests}],"clock":7}}"#),
        r#"{"type":"revokes","buckets":[5,63],"ids":[["a",0.0],["b",1e3]],"last":true,"strangers":false,"clock":7}"#
            .to_owned(),
        r#"{"type":"delta","ids":[["a",0.5]]}"#.to_owned(),
        format!(
            r#"{{"type":"stand",{node},"id":"e1","topic":"task","clock":7,"name":"w1@host.42","again":false}}"#
        ),
        format!(r#"{{"type":"elected",{node},"id":"e1","leader":"w1@host.42","clock":8}}"#),
    ];
    for seed in &seeds {
        assert!(target::message(seed.as_bytes()), "{seed}");
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut read = 0;
    for round in 0..rounds() {
        let input = match round % 16 {
            0 => (0..random.below(64)).map(|_| random.next() as u8).collect(),
            _ => random.mutate(seeds[round % seeds.len()].as_bytes()),
        };
        read += usize::from(target::message(&input));
    }
    assert!(read > rounds() / 100, "{read} changed messages were read: too few to tell anything");
}
