//! What one worker knows to be revoked, all come to know.

use super::{Faults, Role, Sim, each};

impl Sim {
    /// A worker learns of revokes by other ways than gossip: two beats show that they are not the lead's.
    pub fn revoke(&mut self, place: usize, ids: &[String], age: f64) {
        let process = &mut self.processes[place];
        let wall = process.time(self.now).wall;
        for id in ids {
            process.revoked.add(id, wall - age);
        }
    }

    /// All know so many, and each as old as it is, within some seconds.
    fn check_revoked(&mut self, count: usize, age: f64) {
        for place in self.here() {
            let process = &self.processes[place];
            let wall = process.time(self.now).wall;
            let ages: Vec<f64> = process.revoked.iter().map(|(_, stamp)| wall - stamp).collect();
            let name = process.hostname.clone();
            if ages.len() != count {
                self.fail(format_args!("{name} knows {} revokes of {count}", ages.len()));
            } else if let Some(wrong) = ages.iter().find(|wrong| (**wrong - age).abs() > 3.0) {
                self.fail(format_args!("{name} takes a revoke for {wrong:.1} s old, which is {age:.1}"));
            }
        }
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("task-{number}")).collect()
}

#[test]
fn a_revoke_reaches_all_with_its_age() {
    each(100, |run| {
        let size = run.size(1, 12);
        let mut sim = run.settled(size, Faults::NONE);
        for process in &mut sim.processes {
            process.skew = if run.random.chance(0.3) { run.random.between(-50.0, 50.0) } else { 0.0 };
        }
        let here = sim.here();
        let place = sim.random.pick(&here).unwrap();
        let count = run.size(1, 50);
        sim.revoke(place, &ids(count), 100.0);
        sim.run(20.0);
        sim.check_revoked(count, 120.0);
        sim
    });
}

#[test]
fn what_was_missed_is_caught_up() {
    each(100, |run| {
        let size = run.size(2, 12);
        let mut sim = run.settled(size, Faults::NONE);
        sim.faults.loss = 0.3;
        let here = sim.here();
        let count = run.size(1, 2500);
        let place = sim.random.pick(&here).unwrap();
        sim.revoke(place, &ids(count), 0.0);
        sim.run(5.0);
        sim.faults.loss = 0.0;
        sim.start("late@h", Role::Watch);
        sim.run(30.0);
        sim.check_revoked(count, 35.0);
        sim
    });
}
