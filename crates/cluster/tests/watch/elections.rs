//! Elections in whole clusters: one candidate runs, and all are told the same.

use std::collections::BTreeSet;

use celeriac_cluster::gossip;
use celeriac_cluster::watch::Input;
use celeriac_protocol::Value;

use super::process::{Kind, Parcel};
use super::{Faults, Role, Run, Sim, each};

impl Sim {
    /// A process is asked to stand, as by the control command `election`.
    fn stand(&mut self, place: usize, id: &str) {
        let (id, topic, action) = (id.to_owned(), "task".to_owned(), Value::Null);
        let now = self.now;
        let process = &mut self.processes[place];
        let wall = process.time(now).wall;
        match &mut process.kind {
            Kind::Watch(_) => self.hand(place, Input::Election { id, topic, action }),
            Kind::Classic(gossip) => {
                let actions = gossip.handle(gossip::Input::Election { id, topic, action }, wall);
                self.carry_out_classic(place, actions);
                self.plan_tick(place);
            }
            Kind::Python(python) => {
                let (kind, fields) = python.stand(&id);
                let event = process.event(kind, fields, now);
                self.publish(place, Parcel::Event(event.into()), false);
            }
            Kind::Deaf => {}
        }
    }

    /// How many run its action, the ended ones too.
    fn runners(&self, id: &str) -> Vec<usize> {
        let mut runners = Vec::new();
        for (place, process) in self.processes.iter().enumerate() {
            let ours = process.outcomes.iter().filter(|outcome| outcome.id == id && outcome.runs).count();
            let theirs = process.python().map_or(0, |python| python.runs(id));
            runners.extend(vec![place; ours + theirs]);
        }
        runners
    }

    /// Each candidate that is here was told once, all of the same winner.
    fn check_outcomes(&mut self, id: &str, candidates: &[usize]) {
        let mut leaders = BTreeSet::new();
        for place in candidates {
            let process = &self.processes[*place];
            if !process.is_here() {
                continue;
            }
            let mut told: Vec<String> = Vec::new();
            if let Some(python) = process.python() {
                told.extend(
                    python.decided.iter().filter(|(of, _)| of == id).map(|(_, leader)| leader.clone()),
                );
            } else {
                let outcomes = process.outcomes.iter().filter(|outcome| outcome.id == id);
                told.extend(outcomes.map(|outcome| outcome.leader.clone()));
            }
            let ours = self.processes.iter().filter(|process| process.role == Role::Watch).count();
            // Beside one of ours, Celery's worker may have the acks of all others before our entry comes.
            let raised = process.python().filter(|_| ours > 1).map_or(0, |python| python.raised.len());
            if told.len() != 1 || raised > 0 {
                let name = process.hostname.clone();
                let expired = process.expired.clone();
                self.fail(format_args!(
                    "{name} was told of {told:?}, expired {expired:?}, raised {raised} times"
                ));
            }
            leaders.extend(told);
        }
        if leaders.len() > 1 {
            self.fail(format_args!("{leaders:?} won"));
        }
    }

    /// Some candidates stand within a while.
    pub fn stand_all(&mut self, candidates: &[usize], id: &str, seconds: f64) {
        let mut moments: Vec<_> =
            candidates.iter().map(|place| (self.random.between(0.0, seconds), *place)).collect();
        moments.sort_by(|one, other| one.0.total_cmp(&other.0));
        let begin = self.now;
        for (moment, place) in moments {
            self.run_until(begin + moment);
            if self.processes[place].is_here() {
                self.stand(place, id);
            }
        }
    }
}

/// Some of the workers, at least one.
fn some(run: &mut Run, sim: &Sim) -> Vec<usize> {
    let here = sim.here();
    let mut some: Vec<_> = here.iter().copied().filter(|_| run.random.chance(0.6)).collect();
    if some.is_empty() {
        some.push(here[run.random.below(here.len())]);
    }
    some
}

#[test]
fn one_candidate_runs_and_all_are_told() {
    each(300, |run| {
        let size = run.size(1, 12);
        let faults = if run.random.chance(0.5) { Faults::NONE } else { run.rough() };
        let mut sim = run.settled(size, faults);
        let candidates = some(run, &sim);
        sim.stand_all(&candidates, "e", run.random.between(0.0, 0.3));
        sim.run(5.0);
        sim.check_outcomes("e", &candidates);
        if sim.runners("e").len() != 1 {
            sim.fail(format_args!("{:?} run", sim.runners("e")));
        }
        sim
    });
}

#[test]
fn one_candidate_runs_although_messages_are_lost() {
    each(300, |run| {
        let size = run.size(1, 12);
        let mut sim = run.settled(size, Faults::NONE);
        sim.faults = Faults { unheard: 0.0, ..run.lossy() };
        let candidates = some(run, &sim);
        sim.stand_all(&candidates, "e", run.random.between(0.0, 0.3));
        sim.run(20.0);
        sim.check_outcomes("e", &candidates);
        if sim.runners("e").len() != 1 {
            sim.fail(format_args!("{:?} run", sim.runners("e")));
        }
        sim
    });
}

#[test]
fn an_election_among_a_hundred_costs_two_hundred_messages() {
    each(3, |run| {
        let mut sim = run.settled(100, Faults::NONE);
        sim.run(5.0);
        let before = sim.count.elections;
        let candidates = sim.here();
        sim.stand_all(&candidates, "e", 0.2);
        sim.run(10.0);
        sim.check_outcomes("e", &candidates);
        let cost = sim.count.elections - before;
        if sim.runners("e").len() != 1 || cost > 210 {
            sim.fail(format_args!("{:?} run, {cost} messages", sim.runners("e")));
        }
        sim
    });
}

#[test]
fn the_lead_may_crash_in_the_middle_of_an_election() {
    each(300, |run| {
        let size = run.size(2, 10);
        let mut sim = run.settled(size, Faults::NONE);
        sim.run(20.0);
        let candidates = some(run, &sim);
        let lead = sim.lead();
        sim.stand_all(&candidates, "e", 0.3);
        sim.run(run.random.between(0.0, 1.0));
        sim.crash(lead);
        sim.run(40.0);
        sim.check_outcomes("e", &candidates);
        let runners = sim.runners("e");
        let name = |place: &usize| {
            let process = &sim.processes[*place];
            format!("{}.{}", process.hostname, process.pid)
        };
        // One that won and died may have run or not.
        let won: Vec<String> = sim
            .processes
            .iter()
            .flat_map(|process| &process.outcomes)
            .map(|outcome| outcome.leader.clone())
            .collect();
        let died = candidates.contains(&lead) && (won.contains(&name(&lead)) || candidates.len() == 1);
        if runners.len() > 1 || runners.is_empty() && !died {
            sim.fail(format_args!("{runners:?} run"));
        }
        sim
    });
}

#[test]
fn a_candidate_of_celery_wins() {
    each(200, |run| {
        let mut sim = run.sim(Faults::NONE);
        let (ours, theirs) = (run.size(1, 6), run.size(1, 4));
        sim.start_many(ours, "w", Role::Watch);
        sim.start_many(theirs, "p", Role::Python);
        sim.run(20.0);
        sim.check_converged();
        let mut candidates = some(run, &sim);
        // One alone that knows one other decides at its own ack: that raises without us, too.
        if !candidates.iter().any(|place| sim.processes[*place].role == Role::Python) {
            candidates.push(ours);
        }
        sim.stand_all(&candidates, "e", 0.2);
        sim.run(15.0);
        sim.check_outcomes("e", &candidates);
        let runners = sim.runners("e");
        if runners.len() != 1 || runners.iter().any(|place| sim.processes[*place].role != Role::Python) {
            sim.fail(format_args!("{runners:?} run"));
        }
        sim
    });
}

#[test]
fn ours_decide_alone_where_celerys_workers_do_not_stand() {
    each(150, |run| {
        let role = [Role::Python, Role::Classic, Role::Deaf][run.random.below(3)];
        let mut sim = run.sim(Faults::NONE);
        let (ours, theirs) = (run.size(1, 6), run.size(1, 4));
        sim.start_many(ours, "w", Role::Watch);
        sim.start_many(theirs, "p", role);
        sim.run(20.0);
        sim.check_converged();
        let candidates: Vec<_> =
            some(run, &sim).into_iter().filter(|place| sim.processes[*place].role == Role::Watch).collect();
        sim.stand_all(&candidates, "e", 0.2);
        sim.run(15.0);
        sim.check_outcomes("e", &candidates);
        if sim.runners("e").len() != candidates.len().min(1) {
            sim.fail(format_args!("{:?} run of {candidates:?}", sim.runners("e")));
        }
        sim
    });
}

#[test]
fn classic_candidates_and_ours_agree() {
    each(200, |run| {
        let mut sim = run.sim(Faults::NONE);
        let (ours, theirs) = (run.size(1, 6), run.size(1, 4));
        sim.start_many(ours, "w", Role::Watch);
        sim.start_many(theirs, "c", Role::Classic);
        sim.run(20.0);
        sim.check_converged();
        let candidates = some(run, &sim);
        sim.stand_all(&candidates, "e", 0.2);
        sim.run(20.0);
        sim.check_outcomes("e", &candidates);
        if sim.runners("e").len() != 1 {
            sim.fail(format_args!("{:?} run of {candidates:?}", sim.runners("e")));
        }
        sim
    });
}
