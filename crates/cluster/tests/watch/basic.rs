//! Clusters that start and come to rest, and members that come and go.

use super::{Faults, Role, each};

#[test]
fn clusters_of_all_sizes_agree_within_seconds() {
    each(40, |run| {
        let mut sim = run.sim(Faults::NONE);
        let size = [1, 2, 3, 10, 40][run.seed as usize % 5];
        sim.start_many(size, "w", Role::Watch);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim.check_reigns(3.0);
        sim
    });
}

#[test]
fn a_worker_that_is_alone_leads_itself_within_seconds() {
    each(50, |run| {
        let mut sim = run.sim(Faults::NONE);
        sim.start("w@h", Role::Watch);
        sim.run(5.0);
        sim.check_converged();
        sim
    });
}

#[test]
fn all_may_start_within_a_second_or_minutes_apart() {
    each(100, |run| {
        let faults = run.rough();
        let mut sim = run.sim(faults);
        let seconds = [0.0, 1.0, 30.0][run.random.below(3)];
        let size = run.size(2, 40);
        sim.start_within(seconds, size, "w", Role::Watch);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim.check_reigns(3.0);
        sim
    });
}

#[test]
fn a_broker_that_takes_seconds_for_each_message_gets_a_lead_that_tells() {
    each(100, |run| {
        let taken = run.random.between(0.5, 3.0);
        let mut sim = run.sim(Faults { taken, ..Faults::NONE });
        let size = run.size(2, 40);
        sim.start_within(3.0, size, "w", Role::Watch);
        sim.run(25.0);
        sim.check_converged();
        let place = sim.bystander();
        if let Some(place) = place {
            sim.stop(place);
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn a_crash_and_an_end_are_told_once_for_what_they_are() {
    each(150, |run| {
        let size = run.size(4, 20);
        let faults = if run.random.chance(0.5) { Faults::NONE } else { run.rough() };
        let mut sim = run.settled(size, faults);
        sim.run(15.0);
        for _ in 0..run.size(1, 3) {
            let Some(place) = sim.bystander() else { break };
            if run.random.chance(0.5) {
                sim.crash(place)
            } else {
                sim.stop(place)
            }
            sim.run(run.random.between(0.0, 3.0));
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn all_know_of_a_crash_within_six_seconds() {
    each(100, |run| {
        let size = run.size(4, 20);
        let mut sim = run.settled(size, Faults::NONE);
        let Some(place) = sim.bystander() else { return sim };
        sim.run(run.random.between(0.0, 5.0));
        sim.crash(place);
        sim.run(5.6);
        sim.check_converged();
        sim
    });
}

#[test]
fn a_restart_under_the_same_name_is_told() {
    each(150, |run| {
        let size = run.size(3, 15);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        sim.run(15.0);
        for _ in 0..run.size(1, 4) {
            let here = sim.here();
            let Some(place) = sim.random.pick(&here) else { break };
            if run.random.chance(0.5) {
                sim.crash(place)
            } else {
                sim.stop(place)
            }
            sim.run(run.random.between(0.1, 8.0));
            sim.start_again(place);
            sim.run(run.random.between(0.0, 8.0));
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}

#[test]
fn a_rolling_restart_of_all_ends_well() {
    each(40, |run| {
        let size = run.size(3, 25);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        let gap = run.random.between(0.05, 3.0);
        for place in sim.here() {
            sim.stop(place);
            sim.run(gap);
            sim.start_again(place);
            sim.run(gap);
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(false);
        sim.check_reigns(3.0);
        sim
    });
}

#[test]
fn the_end_of_all_but_one_leaves_one() {
    each(50, |run| {
        let size = run.size(2, 20);
        let mut sim = run.settled(size, Faults::NONE);
        let here = sim.here();
        let last = sim.random.pick(&here).unwrap();
        for place in here.into_iter().filter(|place| *place != last) {
            if run.random.chance(0.5) { sim.crash(place) } else { sim.stop(place) }
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}
