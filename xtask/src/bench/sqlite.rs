//! No-op tasks end to end through one SQLite file: sent by a client, run by two workers, results stored.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use celeriac_testkit::{Process, Signal, TempDir, workspace_root};

use super::programs::Program;
use super::table::{median, print};
use super::{Options, cpu};
use crate::cargo::{cargo, output, run};

const WORKERS: usize = 2;
const STOP: Duration = Duration::from_secs(30);
/// Tasks that are run before the measurement.
const WARM: u32 = 100;

/// What one round gave.
struct Round {
    sent_per_second: f64,
    tasks_per_second: f64,
    /// Microseconds, of all workers.
    cpu_per_task: f64,
}

type Way = fn(u32) -> Result<Round>;

/// Runs both ways several times and prints medians.
///
/// # Errors
/// When a program does not build, or a task has no result after three minutes.
pub fn sqlite(options: &Options) -> Result<()> {
    Program::Celeriac.build()?;
    run(&mut cargo(["build", "--release", "--package", "celeriac-load"]))?;
    let ways = [
        ("sent while two workers run", together as Way),
        ("sent before two workers start", one_after_the_other as Way),
    ];
    let mut rows = Vec::new();
    for (name, way) in ways {
        let mut rounds = Vec::new();
        for number in 1..=options.rounds {
            let round = way(options.count)?;
            eprintln!("round {number}: {name}: {:.0} tasks/s", round.tasks_per_second);
            rounds.push(round);
        }
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let sent = of(|round| round.sent_per_second);
        let (speed, cost) = (of(|round| round.tasks_per_second), of(|round| round.cpu_per_task));
        rows.push(vec![name.to_owned(), format!("{sent:.0}"), format!("{speed:.0}"), format!("{cost:.1}")]);
    }
    print(&["median", "sent/s", "tasks/s", "us CPU a task"], &rows);
    Ok(())
}

/// From the first call sent to the last result stored, with the workers at work beforehand.
fn together(count: u32) -> Result<Round> {
    let dir = TempDir::new();
    let file = dir.path().join("celeriac.db");
    let workers = warm_workers(&file)?;
    let report = load("both", &file, count, WARM)?;
    Ok(round(count, seconds(&report, "sent")?, seconds(&report, "stored")?, &workers))
}

/// From the start of the workers to the last result stored, with all calls sent beforehand.
fn one_after_the_other(count: u32) -> Result<Round> {
    let dir = TempDir::new();
    let file = dir.path().join("celeriac.db");
    for worker in warm_workers(&file)? {
        worker.signal(Signal::TERM);
        worker.wait(STOP);
    }
    let sent = seconds(&load("send", &file, count, WARM)?, "sent")?;
    let begun = Instant::now();
    let workers = workers(&file);
    load("wait", &file, count, WARM)?;
    Ok(round(count, sent, begun.elapsed().as_secs_f64(), &workers))
}

/// Workers that have run a few tasks, and so made the tables.
fn warm_workers(file: &Path) -> Result<Vec<Process>> {
    let workers = workers(file);
    load("both", file, WARM, 0)?;
    Ok(workers)
}

fn round(count: u32, sent: f64, stored: f64, workers: &[Process]) -> Round {
    let (count, cpu) =
        (f64::from(count), workers.iter().map(|worker| cpu::seconds(worker.id())).sum::<f64>());
    Round { sent_per_second: count / sent, tasks_per_second: count / stored, cpu_per_task: cpu / count * 1e6 }
}

fn workers(file: &Path) -> Vec<Process> {
    let url = format!("sqlite:{}", file.display());
    let start = |number| {
        let mut hello = Command::new(workspace_root().join("target/release/examples/hello"));
        hello.args([
            "-b",
            &url,
            "--result-backend",
            &url,
            "worker",
            "-c",
            "8",
            "-Q",
            "celery",
            "-l",
            "warning",
        ]);
        Process::start(hello.args(["-n", &format!("w{number}@%h"), "--prefetch-multiplier", "125"]))
    };
    (0..WORKERS).map(start).collect()
}

fn load(what: &str, file: &Path, count: u32, before: u32) -> Result<String> {
    let mut load = Command::new(workspace_root().join("target/release/celeriac-load"));
    output(load.arg(what).arg(file).args([count, before].map(|number| number.to_string())))
}

/// The figure in the line that starts with `word`.
fn seconds(report: &str, word: &str) -> Result<f64> {
    let line = report.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|figure| figure.trim().parse().ok()).with_context(|| format!("no {word} in {report:?}"))
}
