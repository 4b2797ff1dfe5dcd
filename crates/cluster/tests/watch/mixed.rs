//! Members that are not like the others.

use super::{Faults, Role, Run, Sim, each};

/// Some of ours, and some others.
fn mixed(run: &mut Run, ours: usize, others: usize, role: Role) -> Sim {
    let mut sim = run.sim(Faults::NONE);
    sim.start_within(run.random.between(0.0, 3.0), ours, "w", Role::Watch);
    sim.start_within(run.random.between(0.0, 3.0), others, "p", role);
    sim.run(15.0);
    sim.check_converged();
    sim
}

fn any(sim: &mut Sim, role: Role) -> usize {
    let some: Vec<_> = sim.here().into_iter().filter(|place| sim.processes[*place].role == role).collect();
    sim.random.pick(&some).unwrap()
}

#[test]
fn workers_of_celery_are_members_and_hear_us() {
    each(100, |run| {
        let role = [Role::Python, Role::Deaf, Role::Classic][run.random.below(3)];
        let (ours, others) = (run.size(1, 6), run.size(1, 6));
        let mut sim = mixed(run, ours, others, role);
        sim.run(15.0);
        let crashed = any(&mut sim, role);
        sim.crash(crashed);
        sim.run(run.random.between(0.0, 5.0));
        sim.start("late@h", role);
        if run.random.chance(0.5) && others > 1 {
            let stopped = any(&mut sim, role);
            sim.stop(stopped);
        }
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        let names: Vec<_> =
            sim.here().into_iter().map(|place| sim.processes[place].hostname.clone()).collect();
        for place in sim.here() {
            let Some(python) = sim.processes[place].python() else { continue };
            let unknown = names.iter().filter(|name| !python.knows(name)).count();
            // Not itself.
            if unknown != 1 {
                sim.fail(format_args!("Celery's worker does not know {} of them", unknown - 1));
            }
        }
        sim
    });
}

#[test]
fn a_member_of_celery_that_restarts_is_another() {
    each(60, |run| {
        let mut sim = mixed(run, 3, 2, Role::Python);
        sim.run(15.0);
        let place = any(&mut sim, Role::Python);
        if run.random.chance(0.5) {
            sim.crash(place)
        } else {
            sim.stop(place)
        }
        sim.run(run.random.between(0.5, 10.0));
        sim.start_again(place);
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}

#[test]
fn the_lead_goes_while_members_are_not_all_ours() {
    each(80, |run| {
        let role = [Role::Python, Role::Deaf, Role::Classic][run.random.below(3)];
        let ours = run.size(2, 6);
        let mut sim = mixed(run, ours, 3, role);
        sim.run(15.0);
        let crashed = any(&mut sim, role);
        sim.crash(crashed);
        sim.run(run.random.between(0.0, 5.0));
        sim.crash(sim.lead());
        sim.run(15.0);
        sim.check_converged();
        sim.check_told(true);
        sim
    });
}

#[test]
fn a_worker_of_celery_costs_half_a_delivery_a_member() {
    each(4, |run| {
        let mut sim = mixed(run, 20, 2, Role::Python);
        sim.run(10.0);
        let before = sim.count.delivered;
        sim.run(100.0);
        let rate = (sim.count.delivered - before) as f64 / 100.0;
        // Four hear 22 heartbeats every two seconds, twenty a beat every five.
        if rate > 1.1 * (4.0 * 22.0 / 2.0 + 20.0 / 5.0) {
            sim.fail(format_args!("{rate:.1} deliveries a second"));
        }
        sim
    });
}

#[test]
fn without_heartbeats_a_worker_knows_all_and_is_no_member() {
    each(60, |run| {
        let size = run.size(1, 6);
        let mut sim = run.sim(Faults::NONE);
        if run.random.chance(0.5) {
            sim.start("heartless@h", Role::Heartless);
        }
        sim.start_many(size, "w", Role::Watch);
        sim.run(run.random.between(0.0, 20.0));
        sim.start("silent@h", Role::Heartless);
        sim.run(15.0);
        sim.check_converged();
        let watchers = sim.watchers();
        if size > 1 || run.random.chance(0.5) {
            sim.start("more@h", Role::Watch);
            sim.crash(watchers[0]);
        }
        // Who starts now may lead, and knows nobody: what is absent from its roster is doubted for some seconds.
        sim.run(25.0);
        sim.check_converged();
        sim
    });
}

#[test]
fn of_two_workers_of_one_name_the_newer_is_the_member() {
    each(80, |run| {
        let mut sim = run.settled(4, Faults::NONE);
        // A lead stays one, and a member, although a newer worker has its name.
        let lead = sim.lead();
        let others: Vec<_> = sim.here().into_iter().filter(|place| *place != lead).collect();
        let twin = sim.random.pick(&others).unwrap();
        sim.run(run.random.between(0.0, 10.0));
        sim.start_again(twin);
        sim.run(20.0);
        let delivered = sim.count.delivered;
        sim.run(60.0);
        // They do not fight about it.
        let rate = (sim.count.delivered - delivered) as f64 / 60.0;
        if rate > 2.0 * 5.0 {
            sim.fail(format_args!("{rate:.1} deliveries a second"));
        }
        if sim.processes.iter().any(|process| process.twins > 1) {
            sim.fail("twins were told more than once");
        }
        if sim.processes.iter().all(|process| process.twins == 0) {
            sim.fail("twins were not told");
        }
        sim.check_converged();
        sim
    });
}
