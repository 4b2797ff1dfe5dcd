//! Everything at random.

use super::{Faults, Role, Run, Sim, each};

/// The most processes that live at once.
const MOST: usize = 16;

#[test]
fn whatever_happens_all_agree_in_the_end() {
    each(3000, |run| {
        let mut sim = begin(run, Faults::NONE);
        trouble(run, &mut sim, 60.0);
        end(run, &mut sim);
        sim.check_told(false);
        sim.check_reigns(6.0);
        sim
    });
}

#[test]
fn whatever_happens_while_messages_come_late_twice_and_in_disorder() {
    each(3000, |run| {
        let faults = run.rough();
        let mut sim = begin(run, faults);
        trouble(run, &mut sim, 60.0);
        end(run, &mut sim);
        sim.check_reigns(6.0);
        sim
    });
}

#[test]
fn whatever_happens_while_messages_are_lost() {
    each(3000, |run| {
        let faults = run.lossy();
        let mut sim = begin(run, faults);
        trouble(run, &mut sim, 60.0);
        sim.faults.loss = 0.0;
        // Who was not heard until now may still be called lost.
        sim.faults.unheard = sim.faults.unheard.min(f64::MIN_POSITIVE);
        sim.run(5.0);
        sim.faults.unheard = 0.0;
        end(run, &mut sim);
        sim.check_reigns(16.0);
        sim
    });
}

fn begin(run: &mut Run, faults: Faults) -> Sim {
    let mut sim = run.sim(faults);
    let size = run.size(1, 10);
    sim.settings.watchers = [1, 2, 2, 2, 3][run.random.below(5)];
    sim.start_within(run.random.between(0.0, 5.0), size, "w", Role::Watch);
    sim.run(run.random.between(0.0, 20.0));
    sim
}

fn end(run: &mut Run, sim: &mut Sim) {
    for process in &mut sim.processes {
        process.lag = 0.0;
    }
    if sim.here().is_empty() && !sim.processes.iter().any(|process| process.is_alive()) {
        sim.start("last@h", Role::Watch);
    }
    sim.run(sim.until_all_go_on());
    // The last of the changes may have been the end of all watchers.
    sim.run(20.0 + run.random.between(0.0, 5.0));
    sim.check_converged();
}

fn trouble(run: &mut Run, sim: &mut Sim, seconds: f64) {
    let random = &mut run.random;
    let until = sim.now + seconds;
    let mut names = 0;
    while sim.now < until {
        sim.run(random.between(0.0, 10.0) * random.unit());
        let here = sim.here();
        let one = random.pick(&here);
        match (random.below(12), one) {
            (0 | 1, _) if here.len() < MOST => {
                names += 1;
                sim.start(&format!("n{names}@h"), Role::Watch);
            }
            (2, Some(place)) => sim.crash(place),
            (3, Some(place)) => sim.stop(place),
            (4 | 5, Some(place)) => {
                if random.chance(0.5) {
                    sim.crash(place)
                } else {
                    sim.stop(place)
                }
                sim.run(random.between(0.05, 8.0));
                sim.start_again(place);
            }
            (6, Some(place)) => sim.pause(place, random.between(0.5, 5.0)),
            (7, Some(place)) => sim.pause(place, random.between(5.0, 40.0)),
            (8, _) => {
                if let Some(lead) = sim.leads().first().copied() {
                    match random.below(3) {
                        0 => sim.crash(lead),
                        1 => sim.stop(lead),
                        _ => sim.pause(lead, random.between(3.0, 30.0)),
                    }
                }
            }
            (9, _) if random.chance(0.5) => {
                for place in sim.watchers() {
                    sim.crash(place);
                }
            }
            (10, _) if random.chance(0.3) => sim.cut_all(random.between(0.5, 10.0), 6.0),
            (10, Some(place)) => sim.cut(place, random.between(0.1, 20.0)),
            (11, Some(place)) => {
                let lag = if random.chance(0.5) { random.between(0.5, 12.0) } else { 0.0 };
                sim.note(place, &format!("hears {lag:.2} s late"));
                sim.processes[place].lag = lag;
            }
            _ => {}
        }
    }
}
