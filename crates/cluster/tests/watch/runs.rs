use std::env;

use super::{Faults, Random, Sim};

/// How many runs that failed are described.
const SHOWN: usize = 8;

/// The seeds of a scenario: so many, unless the environment says otherwise.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("CELERIAC_SIM_SEED");
    let count = number("CELERIAC_SIM_RUNS").filter(|_| count > 10).unwrap_or(count);
    one.map_or(0..count, |seed| seed..seed.saturating_add(1))
}

/// What a run starts from.
pub struct Run {
    pub seed: u64,
    /// For what the scenario draws; the simulation has its own.
    pub random: Random,
}

impl Run {
    pub fn sim(&self, faults: Faults) -> Sim {
        Sim::new(self.seed, faults)
    }
}

/// Runs a scenario by many seeds, and says which of them failed and how.
pub fn each(count: u64, scenario: impl Fn(&mut Run) -> Sim) {
    let mut failed = Vec::new();
    let mut failures = String::new();
    let mut all = 0;
    for seed in seeds(count) {
        let panicked = Panicked(seed);
        let mut run = Run { seed, random: Random::new(!seed) };
        let sim = scenario(&mut run);
        std::mem::forget(panicked);
        all += 1;
        // Of the first run that failed all is told, of the next ones how it began.
        let told = if failed.is_empty() { usize::MAX } else { 1 };
        for failure in sim.failures.iter().take(told).filter(|_| failed.len() < SHOWN) {
            failures = failures + "\n  " + failure;
        }
        if !sim.failures.is_empty() {
            failed.push(seed);
        }
    }
    let count = failed.len();
    assert!(failed.is_empty(), "{count} of {all} runs failed, of seeds {failed:?}:{failures}");
}

/// Names the seed of a run that panics.
struct Panicked(u64);

impl Drop for Panicked {
    fn drop(&mut self) {
        eprintln!("the run of seed {} panicked", self.0);
    }
}
