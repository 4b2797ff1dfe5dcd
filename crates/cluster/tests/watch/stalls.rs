//! Nobody who lives and is heard is called lost, whoever stalls: each word of a loss is looked at when it is said.

use super::{Faults, Role, Sim, each};

#[test]
fn stalls_of_two_seconds_lose_nobody() {
    each(60, |run| {
        let size = run.size(2, 20);
        let mut sim = run.settled(size, Faults { stalls: 0.01, delay: 0.02, ..Faults::NONE });
        let before = sim.words();
        sim.run(300.0);
        // A lead that stalls when its beat is due loses its place, but nobody is lost.
        sim.faults.stalls = 0.0;
        sim.run(15.0);
        sim.check_converged();
        if sim.words() != before {
            sim.fail("somebody joined or went");
        }
        sim
    });
}

#[test]
fn a_queue_that_is_behind_loses_nobody() {
    each(100, |run| {
        let size = run.size(2, 15);
        let mut sim = run.settled(size, Faults::NONE);
        let before = sim.words();
        for _ in 0..3 {
            let watchers = sim.watchers();
            let Some(place) = sim.random.pick(&watchers) else { break };
            // A backlog comes at once, and goes.
            sim.processes[place].lag = run.random.between(0.5, 20.0);
            sim.run(run.random.between(1.0, 30.0));
            sim.processes[place].lag = 0.0;
            sim.run(run.random.between(1.0, 30.0));
        }
        sim.run(20.0);
        sim.check_converged();
        if sim.words() != before {
            sim.fail("somebody joined or went");
        }
        sim
    });
}

#[test]
fn a_crash_is_found_out_although_the_lead_stood_still() {
    each(100, |run| {
        let size = run.size(4, 15);
        let mut sim = run.settled(size, Faults::NONE);
        let Some(place) = sim.bystander() else { return sim };
        sim.crash(place);
        sim.run(run.random.between(0.0, 5.0));
        sim.pause(sim.lead(), run.random.between(1.0, 5.0));
        sim.run(15.0 + 5.0);
        sim.check_converged();
        sim
    });
}

#[test]
fn clocks_that_differ_are_told_once_and_change_nothing() {
    each(60, |run| {
        let mut sim = run.sim(Faults::NONE);
        let size = run.size(2, 12);
        sim.start_many(size, "w", Role::Watch);
        for process in &mut sim.processes {
            process.skew = if run.random.chance(0.3) { run.random.between(-500.0, 500.0) } else { 0.0 };
        }
        sim.run(30.0);
        let lead = sim.lead();
        let apart =
            |sim: &Sim, one: usize, other: usize| (sim.processes[one].skew - sim.processes[other].skew).abs();
        for place in sim.here() {
            let told = sim.processes[lead].drifts.iter().any(|name| **name == *sim.processes[place].hostname);
            if apart(&sim, lead, place) > 17.0 && !told {
                sim.fail(format_args!("nobody was told of {place}"));
            }
        }
        sim.crash(lead);
        sim.run(30.0);
        if !sim.here().is_empty() {
            sim.check_converged();
        }
        for place in 0..sim.processes.len() {
            let mut told = sim.processes[place].drifts.clone();
            let count = told.len();
            told.sort_unstable();
            told.dedup();
            if told.len() < count {
                sim.fail(format_args!("{place} was told {count} times of {told:?}"));
            }
            for other in 0..sim.processes.len() {
                let name = &sim.processes[other].hostname;
                if told.iter().any(|told| **told == **name) && apart(&sim, place, other) < 15.0 {
                    sim.fail(format_args!("{place} was told of {other}"));
                }
            }
        }
        sim
    });
}

#[test]
fn nobody_is_lost_when_messages_are_few_and_far_between() {
    // The longest interval of heartbeats, and a slow beat.
    each(20, |run| {
        let mut sim = run.sim(Faults::NONE);
        sim.settings.heartbeat = [0.5, 5.0, 20.0, 60.0][run.random.below(4)];
        sim.settings.beat = [0.5, 2.0, 5.0, 10.0][run.random.below(4)];
        let size = run.size(2, 10);
        sim.start_many(size, "w", Role::Watch);
        // Who came before there was a lead is heard at its next heartbeat.
        sim.run(sim.settings.heartbeat + 30.0);
        sim.check_converged();
        sim.run(600.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}
