//! What takes the place of a fuzzer on a stable compiler: random bytes, and good input with random changes, the same in
//! every run. The crates' tests include it.

/// Changes a debug build gets through in seconds; `CELERIAC_FUZZ` asks for more.
fn rounds() -> usize {
    std::env::var("CELERIAC_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000)
}

/// xorshift64.
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

    /// Changes a few bytes, lengths or order; of the bytes put in, each tells the decoder something.
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

/// Feeds a target, which says whether it understood its input: all seeds, and some of what is made of them.
pub fn run(target: fn(&[u8]) -> bool, seeds: &[impl AsRef<[u8]>], telling: &[u8]) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for seed in seeds.iter().map(AsRef::as_ref) {
        assert!(target(seed), "{}", seed.escape_ascii());
    }
    let mut read = 0;
    for round in 0..rounds() {
        let input = match round % 8 {
            0 => random.bytes(),
            _ => {
                let seed = seeds[random.below(seeds.len())].as_ref();
                random.mutate(seed, telling)
            }
        };
        read += usize::from(target(&input));
    }
    assert!(read > rounds() / 100, "{read} changed inputs were read: too few to tell anything");
}
