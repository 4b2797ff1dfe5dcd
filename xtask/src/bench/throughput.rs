//! How fast a queue that was filled beforehand is drained, and at what cost.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, RabbitMq, Vhost};

use super::fill::{QUEUE, fill};
use super::programs::Program;
use super::table::{median, print};
use super::{Options, cpu};

const POLL: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(180);

/// What one round of one program gave, from the moment a tenth of the messages was gone until none was left.
pub(super) struct Round {
    pub(super) tasks_per_second: f64,
    /// Microseconds.
    pub(super) cpu_per_task: f64,
    /// Seconds from the program's start until a tenth was gone.
    first_tenth: f64,
}

/// Drains a filled queue with each contender in turn, several rounds, and prints medians and ratios.
///
/// # Errors
/// When a contender does not build, or leaves messages after three minutes.
pub fn throughput(options: &Options) -> Result<()> {
    let usual = || vec![Program::Celeriac, Program::Rusty, Program::Bare];
    let programs = if options.only.is_empty() { usual() } else { Program::select(&options.only)? };
    programs.iter().try_for_each(|program| program.build())?;
    let server = RabbitMq::start_plain();
    let mut rounds: Vec<Vec<Round>> = programs.iter().map(|_| Vec::new()).collect();
    for number in 1..=options.rounds {
        for (program, rounds) in programs.iter().zip(&mut rounds) {
            let round = drain(&server, *program, options.count)?;
            eprintln!(
                "round {number}: {} {:.0} tasks/s, {:.1} us CPU a task",
                program.name(),
                round.tasks_per_second,
                round.cpu_per_task
            );
            rounds.push(round);
        }
    }
    report(&programs, &rounds);
    Ok(())
}

pub(super) fn drain(server: &RabbitMq, program: Program, count: u32) -> Result<Round> {
    let vhost = server.vhost();
    drain_by(&vhost, program.name(), &program.drain(&vhost, server.port()), count)
}

/// Fills the queue of the virtual host and has the command drain it.
pub(super) fn drain_by(vhost: &Vhost, name: &str, command: &Command, count: u32) -> Result<Round> {
    let mut probe = vhost.probe();
    fill(&mut probe, count);
    let mut depth = || probe.queue(QUEUE).map_or(0, |queue| queue.depth);
    let started = Instant::now();
    let process = Process::start(command);
    let mut mark = None;
    loop {
        let (now, left) = (Instant::now(), depth());
        if mark.is_none() && left <= count / 10 * 9 {
            mark = Some((now, left, cpu::seconds(process.id())));
        }
        if let (0, Some((then, left_then, cpu_then))) = (left, mark) {
            let drained = f64::from(left_then);
            return Ok(Round {
                tasks_per_second: drained / now.duration_since(then).as_secs_f64(),
                cpu_per_task: (cpu::seconds(process.id()) - cpu_then) / drained * 1e6,
                first_tenth: then.duration_since(started).as_secs_f64(),
            });
        }
        ensure!(process.exit_status().is_none(), "{} ended:\n{}", name, process.log());
        ensure!(started.elapsed() < DEADLINE, "{} left {left} messages:\n{}", name, process.log());
        thread::sleep(POLL);
    }
}

fn report(programs: &[Program], rounds: &[Vec<Round>]) {
    let of = |figure: fn(&Round) -> f64| -> Vec<f64> {
        rounds.iter().map(|rounds| median(rounds.iter().map(figure).collect())).collect()
    };
    let (speeds, costs, starts) = (of(|r| r.tasks_per_second), of(|r| r.cpu_per_task), of(|r| r.first_tenth));
    let mut rows = Vec::new();
    for (((program, speed), cost), start) in programs.iter().zip(&speeds).zip(&costs).zip(&starts) {
        let ratio = |to: Program| {
            let at = programs.iter().position(|program| *program == to);
            let other = at.and_then(|at| speeds.get(at));
            other.map_or("-".to_owned(), |other| format!("{:.2}", speed / other))
        };
        rows.push(vec![
            program.name().to_owned(),
            format!("{speed:.0}"),
            ratio(Program::Rusty),
            ratio(Program::Bare),
            format!("{cost:.1}"),
            format!("{start:.2}"),
        ]);
    }
    print(&["median", "tasks/s", "x rusty-celery", "x bare", "us CPU a task", "s to first tenth"], &rows);
}
