//! Leads and watchers that go, stand still or come back.

use super::{Faults, Role, Sim, each};

#[test]
fn the_crash_of_the_lead_is_over_in_fifteen_seconds() {
    each(150, |run| {
        let size = run.size(2, 30);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        sim.run(15.0 + run.random.between(0.0, 5.0));
        sim.crash(sim.lead());
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim.check_reigns(3.0);
        sim
    });
}

#[test]
fn when_the_lead_says_that_it_goes_the_second_takes_over_at_once() {
    each(100, |run| {
        let size = run.size(2, 30);
        let mut sim = run.settled(size, Faults::NONE);
        sim.run(15.0 + run.random.between(0.0, 5.0));
        the_lead_goes(&mut sim, 1.0);
        sim
    });
}

#[test]
fn a_lead_that_nobody_watches_with_says_itself_that_it_goes() {
    each(100, |run| {
        let size = run.size(2, 30);
        let mut sim = run.sim(Faults::NONE);
        sim.settings.watchers = 1;
        sim.start_many(size, "w", Role::Watch);
        sim.run(40.0 + run.random.between(0.0, 5.0));
        // It is not waited for: those who know it take their turns.
        the_lead_goes(&mut sim, 3.0);
        sim
    });
}

/// Another one leads so many seconds later, and all know why.
fn the_lead_goes(sim: &mut Sim, seconds: f64) {
    sim.stop(sim.lead());
    sim.run(seconds);
    if sim.leads().len() != 1 {
        sim.fail("nobody took over");
    }
    sim.run(14.0);
    sim.check_converged();
    sim.check_told(true);
}

#[test]
fn the_crash_of_the_second_watcher_is_told() {
    each(100, |run| {
        let size = run.size(3, 30);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        sim.run(15.0);
        if let Some(second) = sim.watchers().get(1).copied() {
            sim.crash(second);
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn the_crash_of_all_watchers_at_once_is_over_in_twenty_seconds() {
    each(200, |run| {
        let size = run.size(3, 40);
        let faults = run.rough();
        let mut sim = run.sim(faults);
        sim.settings.watchers = run.size(1, 4);
        sim.start_many(size, "w", Role::Watch);
        sim.run(30.0 + run.random.between(0.0, 5.0));
        sim.check_converged();
        for place in sim.watchers() {
            sim.crash(place);
        }
        sim.run(20.0);
        if sim.here().is_empty() {
            return sim;
        }
        sim.check_converged();
        sim.check_told(true);
        sim.check_reigns(3.0);
        sim
    });
}

#[test]
fn watchers_that_die_one_after_the_other_are_told_both() {
    each(150, |run| {
        let size = run.size(3, 20);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        sim.run(15.0);
        let mut watchers = sim.watchers();
        if run.random.chance(0.7) {
            watchers.reverse();
        }
        for place in watchers {
            sim.crash(place);
            sim.run(run.random.between(0.0, 12.0));
        }
        sim.run(20.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn members_that_crash_together_with_the_lead_are_lost_too() {
    each(100, |run| {
        let size = run.size(6, 30);
        let mut sim = run.settled(size, Faults::NONE);
        sim.run(15.0);
        for _ in 0..run.size(1, 4) {
            if let Some(place) = sim.bystander() {
                sim.crash(place);
            }
        }
        sim.crash(sim.lead());
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn a_lead_that_stands_still_for_half_a_minute_yields() {
    each(150, |run| {
        let size = run.size(2, 20);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        sim.run(run.random.between(0.0, 5.0));
        let lead = sim.lead();
        sim.pause(lead, 30.0);
        sim.run(20.0);
        // Others come and go meanwhile.
        if let Some(place) = sim.bystander().filter(|place| *place != lead && run.random.chance(0.5)) {
            sim.crash(place);
        }
        if run.random.chance(0.5) {
            sim.start("late@h", Role::Watch);
        }
        sim.run(10.1 + 15.0);
        sim.check_converged();
        sim.check_reigns(3.0);
        if sim.lead() == lead && sim.here().len() > 1 {
            sim.fail("the old lead took over again");
        }
        sim
    });
}

#[test]
fn a_member_that_stands_still_comes_back() {
    each(100, |run| {
        let size = run.size(2, 20);
        let faults = run.rough();
        let mut sim = run.settled(size, faults);
        let here = sim.here();
        let place = sim.random.pick(&here).unwrap();
        let seconds = run.random.between(0.5, 40.0);
        sim.pause(place, seconds);
        sim.run(seconds + 15.0);
        sim.check_converged();
        sim
    });
}

#[test]
fn all_may_stand_still_at_once() {
    each(100, |run| {
        let size = run.size(1, 20);
        let mut sim = run.settled(size, Faults::NONE);
        let seconds = run.random.between(1.0, 60.0);
        for place in sim.here() {
            sim.pause(place, seconds + run.random.between(0.0, 0.5));
        }
        sim.run(seconds + 0.5 + 15.0);
        sim.check_converged();
        // Everybody stood still: nobody was silent for longer than the others.
        sim
    });
}

#[test]
fn nobody_is_told_anything_when_the_broker_was_away() {
    each(150, |run| {
        let size = run.size(1, 30);
        let mut sim = run.settled(size, Faults::NONE);
        let before = sim.words();
        let seconds = run.random.between(1.0, 20.0);
        sim.cut_all(seconds, 6.0);
        sim.run(seconds + 6.0 + 15.0);
        sim.check_converged();
        sim.check_reigns(3.0);
        let after = sim.words();
        if after != before {
            sim.fail(format_args!("{} words for nothing", after - before));
        }
        sim
    });
}

#[test]
fn a_connection_that_breaks_and_comes_back_at_once_changes_nothing() {
    each(100, |run| {
        let size = run.size(1, 20);
        let mut sim = run.settled(size, Faults::NONE);
        let before = sim.words();
        for _ in 0..run.size(1, 5) {
            let here = sim.here();
            if let Some(place) = sim.random.pick(&here) {
                sim.cut(place, run.random.between(0.05, 1.0));
            }
            sim.run(run.random.between(1.0, 3.0));
        }
        sim.run(15.0);
        sim.check_converged();
        let after = sim.words();
        if after != before {
            sim.fail(format_args!("{} words for nothing", after - before));
        }
        sim
    });
}

#[test]
fn those_who_say_that_they_go_and_stay_are_told_to_be_back() {
    each(150, |run| {
        let size = run.size(2, 20);
        let mut sim = run.settled(size, Faults::NONE);
        // One after the other, as a broker that is stopped closes connections.
        for place in sim.here() {
            if run.random.chance(0.5) {
                sim.part(place, run.random.between(0.05, 3.0));
            } else {
                sim.cut(place, run.random.between(0.05, 3.0));
            }
            sim.run(run.random.between(0.0, 0.5));
        }
        sim.run(25.0);
        sim.check_converged();
        sim
    });
}
