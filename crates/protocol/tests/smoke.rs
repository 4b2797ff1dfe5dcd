//! The fuzz targets on a stable compiler: random bytes, and the recorded messages with random changes.

use celeriac_protocol::Value;
use celeriac_protocol::codec::{self, Serializer};

use crate::round_trips::{COMPRESSIONS, SERIALIZERS};
use crate::vectors::{bodies, recorded};

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

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
    fn mutate(&mut self, seed: &[u8], telling: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(data.len());
            match self.below(6) {
                _ if data.is_empty() => data.push(self.next() as u8),
                0 => data[at] ^= 1 << self.below(8),
                1 => data[at] = self.next() as u8,
                2 => data.insert(at, telling[self.below(telling.len())]),
                3 => drop(data.remove(at)),
                4 => data.truncate(at.max(data.len() / 2)),
                _ => {
                    let end = (at + self.below(40)).min(data.len());
                    let copy = data[at..end].to_vec();
                    let to = self.below(data.len());
                    data.splice(to..to, copy);
                }
            }
        }
        data
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(64)).map(|_| self.next() as u8).collect()
    }
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>], telling: &[u8]) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for seed in seeds {
        target(seed);
    }
    for round in 0..rounds() {
        let input = match round % 8 {
            0 => random.bytes(),
            _ => {
                let seed = &seeds[random.below(seeds.len())];
                random.mutate(seed, telling)
            }
        };
        target(&input);
    }
}

#[test]
fn messages() {
    let mut seeds = Vec::new();
    for (index, (_, message)) in recorded().into_iter().enumerate() {
        let headers = codec::encode(&Value::Map(message.headers), Serializer::Json, None).unwrap().data;
        let compression = COMPRESSIONS[index % COMPRESSIONS.len()];
        let body = match compression {
            Some(compression) => compression.compress(&message.body).unwrap(),
            None => message.body.to_vec(),
        };
        let serializer = message.properties.content_type.as_deref().and_then(Serializer::from_content_type);
        let kind = SERIALIZERS.iter().position(|known| Some(*known) == serializer).unwrap_or(6);
        let kind = kind as u8 | ((index % COMPRESSIONS.len()) as u8) << 3;
        let length = u16::try_from(headers.len()).unwrap().to_be_bytes();
        seeds.push([&[kind, length[0], length[1]], &headers[..], &body].concat());
    }
    run(targets::decode_message, &seeds, b"\"[]{}:,0-\\\xff");
}

#[test]
fn events_and_requests() {
    for (exchange, target) in [("celeryev", targets::event as fn(&[u8])), ("celery.pidbox", targets::control)]
    {
        let json = |body| codec::encode(&body, Serializer::Json, None).unwrap().data.to_vec();
        let seeds: Vec<Vec<u8>> = bodies(exchange).into_iter().map(json).collect();
        run(target, &seeds, b"\"[]{}:,0-\\eE.u\xff");
    }
}

#[test]
fn json() {
    let seeds = [
        &br#"{"a": [1, -2.5e3, NaN, "\ud83d\ude00 \n", true, null, 123456789012345678901234567890]}"#[..],
        br#"[{"__type__": "datetime", "__value__": "2026-01-02T03:04:05.678+00:00"}]"#,
        br#"[{"__type__": "uuid", "__value__": {"hex": "a1a12c9aa64c3c37acbd5964c01411a1"}}]"#,
        br#"[{"__type__": "base64", "__value__": "AP8="}, {"__type__": "time", "__value__": "01:02:03"}]"#,
    ];
    run(targets::json, &seeds.map(<[u8]>::to_vec), b"\"[]{}:,0-\\eE.u\xff");
}

#[test]
fn msgpack() {
    let seeds = [
        &b"\x93\x01\xa3abc\x82\xa1a\xcb\x3f\xf0\0\0\0\0\0\0\x02\xc4\x02\0\xff"[..],
        b"\xdc\0\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\0",
        b"\xdf\0\0\0\x01\xd9\x01a\xdb\0\0\0\x01a",
    ];
    run(
        targets::msgpack,
        &seeds.map(<[u8]>::to_vec),
        b"\x80\x90\xa0\xc0\xc1\xc4\xc7\xcf\xd4\xdb\xdd\xdf\xff",
    );
}

#[test]
fn yaml() {
    let seeds = [
        &b"- [a, 'b', \"c\\n\\u00e9\", 1_000, 0x1f, 1:30, .inf]\n- {key: ~, ? [x] : y}\n- |\n  text\n  more\n- >-\n  folded\n"[..],
        b"base: &base {a: 1, b: [2, 3]}\nderived:\n  <<: *base\n  c: !!binary AP8=\n  d: 2026-01-02 03:04:05.6 -5\n",
        b"%YAML 1.1\n%TAG ! tag:yaml.org,2002:\n--- !str\nplain text\n...\n# comment\n",
        b"? - a\n  - b\n: {}\n\"key\":\t!!float 1\n'it''s': &x [*x, - ]\n",
    ];
    run(targets::yaml, &seeds.map(<[u8]>::to_vec), b"-?:,[]{}#&*!|>'\"%@` \n\t~<=.\xef");
}
