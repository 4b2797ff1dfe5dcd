//! What events of tasks cost a worker.

use anyhow::Result;
use celeriac_testkit::RabbitMq;

use super::Options;
use super::programs::Program;
use super::table::{median, print};
use super::throughput::drain;

/// Received, started, succeeded.
const EVENTS_A_TASK: f64 = 3.0;

/// Drains a filled queue without events and with them, several rounds, and prints medians of the difference.
///
/// # Errors
/// When a worker does not build, or leaves messages after three minutes.
pub fn events(options: &Options) -> Result<()> {
    let pairs = [
        (Program::Celeriac, Program::CeleriacEvents, options.count),
        // It is slower by far: fewer tasks tell as much.
        (Program::Celery, Program::CeleryEvents, options.count / 10),
    ];
    pairs.iter().try_for_each(|(without, with, _)| without.build().and_then(|()| with.build()))?;
    let server = RabbitMq::start_plain();
    let mut rounds = [Vec::new(), Vec::new()];
    for number in 1..=options.rounds {
        for ((without, with, count), rounds) in pairs.iter().zip(&mut rounds) {
            let without = drain(&server, *without, *count)?.cpu_per_task;
            let costs = drain(&server, *with, *count)?.cpu_per_task;
            eprintln!("round {number}: {} {without:.1}, then {costs:.1} us CPU a task", with.name());
            rounds.push((without, costs));
        }
    }
    let rows = pairs.iter().zip(&rounds).map(|((program, ..), rounds)| {
        let of = |figure: fn(&(f64, f64)) -> f64| median(rounds.iter().map(figure).collect());
        let an_event = of(|(without, with)| (with - without) / EVENTS_A_TASK);
        let (without, with) = (of(|round| round.0), of(|round| round.1));
        vec![
            program.name().to_owned(),
            format!("{without:.1}"),
            format!("{with:.1}"),
            format!("{an_event:.2}"),
        ]
    });
    print(&["median", "us CPU a task", "with events", "us CPU an event"], &rows.collect::<Vec<_>>());
    Ok(())
}
