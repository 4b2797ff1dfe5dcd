//! How long a worker takes until it is ready, and what it holds when it has nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, RabbitMq};

use super::programs::Program;
use super::table::{median, print};
use super::{Options, cpu};

const IDLE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(60);

/// Starts each worker on a running broker, several rounds, and prints medians.
///
/// # Errors
/// When a worker does not build or is not ready within a minute.
pub fn startup(options: &Options) -> Result<()> {
    let programs = [Program::Celeriac, Program::Celery];
    programs.iter().try_for_each(|program| program.build())?;
    let server = RabbitMq::start_plain();
    let mut figures: Vec<Vec<(f64, f64)>> = programs.iter().map(|_| Vec::new()).collect();
    for number in 1..=options.rounds {
        for (program, figures) in programs.iter().zip(&mut figures) {
            let (ready, resident) = start(&server, *program)?;
            eprintln!("round {number}: {} ready after {ready:.0} ms, {resident:.1} MiB", program.name());
            figures.push((ready, resident));
        }
    }
    let rows = programs.iter().zip(&figures).map(|(program, figures)| {
        let (ready, resident): (Vec<f64>, Vec<f64>) = figures.iter().copied().unzip();
        vec![program.name().to_owned(), format!("{:.0}", median(ready)), format!("{:.1}", median(resident))]
    });
    print(&["median", "ms to ready", "MiB resident, parent, idle"], &rows.collect::<Vec<_>>());
    Ok(())
}

/// Milliseconds until the line `ready.`, and MiB of the parent five seconds later.
fn start(server: &RabbitMq, program: Program) -> Result<(f64, f64)> {
    let vhost = server.vhost();
    let begun = Instant::now();
    let process = Process::start(&program.worker(&vhost.url(), "info"));
    while !process.log().contains(" ready.") {
        ensure!(process.exit_status().is_none(), "{} ended:\n{}", program.name(), process.log());
        ensure!(begun.elapsed() < DEADLINE, "{} is not ready:\n{}", program.name(), process.log());
        thread::sleep(Duration::from_millis(1));
    }
    let ready = begun.elapsed().as_secs_f64() * 1e3;
    // What it holds after a while is the figure itself; nothing is waited for.
    thread::sleep(IDLE);
    Ok((ready, cpu::resident(process.id()).unwrap_or(f64::NAN)))
}
