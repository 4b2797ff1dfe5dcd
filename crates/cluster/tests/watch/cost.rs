//! What it costs: heartbeats and cluster messages that are delivered.

use super::{Faults, Role, Sim, each};

/// Deliveries a second and member.
fn rate(sim: &mut Sim, seconds: f64) -> f64 {
    let before = sim.count.delivered;
    sim.run(seconds);
    (sim.count.delivered - before) as f64 / seconds / sim.truth().len() as f64
}

#[test]
fn at_rest_a_member_costs_one_delivery_and_a_half_a_second() {
    each(12, |run| {
        let size = [3, 10, 40, 100][run.seed as usize % 4];
        let mut sim = run.settled(size, Faults::NONE);
        sim.run(20.0);
        let ticks = sim.count.ticks;
        let rate = rate(&mut sim, 100.0);
        // Two watchers and a beat every five seconds: 1.2.
        if rate > 1.5 {
            sim.fail(format_args!("{rate:.2} deliveries a second and member, among {size}"));
        }
        let ticks = (sim.count.ticks - ticks) as f64 / 100.0 / size as f64;
        if ticks > 3.0 {
            sim.fail(format_args!("{ticks:.2} ticks a second and member, among {size}"));
        }
        sim
    });
}

/// Deliveries beyond those at rest, for so many joins and ends one after the other.
fn churn(sim: &mut Sim, changes: usize) -> f64 {
    let rest = rate(sim, 50.0);
    let (before, begin, members) = (sim.count.delivered, sim.now, sim.truth().len());
    for number in 0..changes {
        let place = sim.start(&format!("x{number}@h"), Role::Watch);
        sim.run(5.0);
        sim.stop(place);
        sim.run(5.0);
    }
    sim.run(10.0);
    (sim.count.delivered - before) as f64 - rest * (sim.now - begin) * members as f64
}

#[test]
fn changes_cost_in_proportion_to_members_and_changes() {
    each(3, |run| {
        let mut sim = run.settled(40, Faults::NONE);
        let small = churn(&mut sim, 5);
        let twice = churn(&mut sim, 10);
        let mut sim = run.settled(80, Faults::NONE);
        let double = churn(&mut sim, 5);
        let mut sim = run.settled(160, Faults::NONE);
        let fourfold = churn(&mut sim, 5);
        // One message to each for each change, and what a newcomer needs.
        if small > 40.0 * 10.0 * 2.5 || twice > 2.3 * small || double > 2.3 * small || fourfold > 4.6 * small
        {
            sim.fail(format_args!(
                "{small:.0}, twice the changes {twice:.0}, members {double:.0}, {fourfold:.0}"
            ));
        }
        sim
    });
}

#[test]
fn a_start_of_all_at_once_costs_in_proportion_to_members() {
    each(2, |run| {
        let starts = |size| {
            let mut sim = run.sim(Faults::NONE);
            sim.start_within(1.0, size, "w", Role::Watch);
            sim.run(20.0);
            sim.check_converged();
            (sim.count.delivered as f64 / size as f64, sim)
        };
        let (small, _) = starts(50);
        let (middle, _) = starts(100);
        let (large, mut sim) = starts(200);
        if large > 1.5 * small || large > 100.0 {
            sim.fail(format_args!("{small:.1}, {middle:.1} and {large:.1} deliveries a member"));
        }
        sim
    });
}

#[test]
fn a_failover_costs_in_proportion_to_members() {
    each(4, |run| {
        let mut fails = |size| {
            let mut sim = run.settled(size, Faults::NONE);
            sim.run(20.0);
            for place in sim.watchers() {
                sim.crash(place);
            }
            let before = sim.count.delivered;
            sim.run(20.0);
            sim.check_converged();
            ((sim.count.delivered - before) as f64 / size as f64, sim)
        };
        let (small, _) = fails(50);
        let (large, mut sim) = fails(200);
        if large > 1.5 * small || large > 60.0 {
            sim.fail(format_args!("{small:.1} and {large:.1} deliveries a member"));
        }
        sim
    });
}
