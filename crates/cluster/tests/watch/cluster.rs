//! Clusters to begin with, and what is done to them.

use super::process::{Process, Role};
use super::sim::EXCUSE;
use super::{Faults, Run, Sim};

impl Run {
    /// A cluster of workers of ours that has come to rest.
    pub fn settled(&mut self, size: usize, faults: Faults) -> Sim {
        let mut sim = self.sim(faults);
        let seconds = self.random.between(0.0, 2.0);
        sim.start_within(seconds, size, "w", Role::Watch);
        sim.run(15.0);
        sim.check_converged();
        sim
    }

    pub fn rough(&mut self) -> Faults {
        Faults::rough(&mut self.random)
    }

    pub fn lossy(&mut self) -> Faults {
        Faults::lossy(&mut self.random)
    }

    /// From `low` to `high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        low + self.random.below(high - low + 1)
    }
}

impl Sim {
    /// One that leads; there is one in a cluster at rest.
    pub fn lead(&self) -> usize {
        self.leads().first().copied().unwrap_or_default()
    }

    /// One that is here and does not watch.
    pub fn bystander(&mut self) -> Option<usize> {
        let watchers = self.watchers();
        let others: Vec<_> = self.here().into_iter().filter(|place| !watchers.contains(place)).collect();
        self.random.pick(&others)
    }

    /// How many words all were told so far.
    pub fn words(&self) -> usize {
        self.processes.iter().map(|process| process.told.words()).sum()
    }

    /// A new process of the same name and role; the old one has ended.
    pub fn start_again(&mut self, place: usize) -> usize {
        let Process { hostname, role, .. } = &self.processes[place];
        let (hostname, role) = (hostname.clone(), *role);
        self.start(&hostname, role)
    }

    /// The broker goes away for so many seconds; each comes back at its own time after that.
    pub fn cut_all(&mut self, away: f64, apart: f64) {
        for place in self.here() {
            let seconds = away + apart * self.random.unit();
            self.cut(place, seconds);
        }
    }

    /// Seconds from now until nobody stands still, is without a connection or behind with its queue.
    pub fn until_all_go_on(&self) -> f64 {
        let alive = self.processes.iter().filter(|process| process.is_alive());
        let until = alive.map(|process| process.events_until.max(process.excused_until - EXCUSE));
        until.fold(self.now, f64::max) - self.now + 0.01
    }
}
