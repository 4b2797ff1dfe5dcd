//! Hundreds and thousands of members.

use super::{Faults, Role, each};

#[test]
fn three_hundred_start_within_a_second_and_restart_one_by_one() {
    each(2, |run| {
        let mut sim = run.sim(Faults::NONE);
        sim.start_within(1.0, 300, "w", Role::Watch);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        for place in sim.here() {
            sim.stop(place);
            sim.run(0.1);
            sim.start_again(place);
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}

#[test]
fn three_hundred_lose_their_watchers_and_messages() {
    each(2, |run| {
        let faults = run.rough();
        let mut sim = run.settled(300, faults);
        sim.run(15.0);
        for place in sim.watchers() {
            sim.crash(place);
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(true);
        sim.faults = Faults { loss: 0.03, ..run.rough() };
        for _ in 0..10 {
            if let Some(place) = sim.bystander() {
                sim.crash(place);
            }
            sim.run(2.0);
        }
        sim.faults.loss = 0.0;
        sim.run(15.0);
        sim.check_converged();
        sim
    });
}

#[test]
fn a_thousand_start_stall_crash_and_lose_the_broker() {
    each(1, |run| {
        let mut sim = run.sim(Faults { stalls: 1e-4, ..Faults::NONE });
        sim.start_within(1.0, 1000, "w", Role::Watch);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim.check_reigns(3.0);
        sim.run(15.0);
        // Ten minutes, with a stall in every 10,000 heartbeats.
        let (before, words) = (sim.count.delivered, sim.words());
        sim.run(600.0);
        let rate = (sim.count.delivered - before) as f64 / 600.0;
        if rate > 1500.0 {
            sim.fail(format_args!("{rate:.0} deliveries a second"));
        }
        if sim.words() != words {
            sim.fail("somebody joined or went");
        }
        if let Some(place) = sim.bystander() {
            sim.crash(place);
        }
        sim.run(6.5);
        sim.check_converged();
        for place in sim.watchers() {
            sim.crash(place);
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(true);
        let words = sim.words();
        sim.cut_all(10.0, 5.0);
        sim.run(30.0);
        sim.check_converged();
        sim.check_reigns(3.0);
        let after = sim.words();
        if after != words {
            sim.fail(format_args!("{} words for nothing", after - words));
        }
        sim
    });
}

#[test]
fn ten_thousand_members_of_which_two_hundred_gossip() {
    each(1, |run| {
        let mut sim = run.sim(Faults { stalls: 1e-4, ..Faults::NONE });
        sim.start_within(1.0, 200, "w", Role::Watch);
        sim.start_within(2.0, 9_800, "d", Role::Deaf);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        for place in sim.watchers() {
            sim.crash(place);
        }
        for place in (500..600).chain(20..30) {
            if sim.processes[place].is_alive() {
                sim.crash(place);
            }
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}
