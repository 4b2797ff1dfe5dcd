//! The cluster's state, ours and Celery's, fed with the same events.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use celeriac_testkit::{TempDir, workspace_root};

use super::Options;
use super::table::{median, print};
use crate::cargo::{cargo, output, run};
use crate::setup::setup;

/// What one contender took.
struct Figures {
    events_per_second: f64,
    /// What the process grew by while it took the events.
    mebibytes: f64,
    tasks: f64,
    workers: f64,
}

/// Feeds both with the same events, several rounds, and prints medians.
///
/// # Errors
/// When a program does not build or fails.
pub fn state(options: &Options) -> Result<()> {
    let python = setup()?;
    run(&mut cargo(["build", "--release", "--package", "celeriac-state-load"]))?;
    let dir = TempDir::new();
    let file = dir.path().join("events.jsonl");
    output(load().arg("write").arg(&file).arg(options.count.to_string()))?;
    let contenders: [(&str, &dyn Fn() -> Command); 2] = [
        ("celeriac", &|| {
            let mut command = load();
            command.arg("feed");
            command
        }),
        ("celery", &|| {
            let mut command = Command::new(&python);
            command.arg(workspace_root().join("benches/state/state.py"));
            command
        }),
    ];
    let mut rounds: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for number in 1..=options.rounds {
        for ((name, command), rounds) in contenders.iter().zip(&mut rounds) {
            let figures = feed(command(), &file)?;
            eprintln!("round {number}: {name}: {:.0} events/s", figures.events_per_second);
            rounds.push(figures);
        }
    }
    let of = |rounds: &[Figures], figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    let figures: [fn(&Figures) -> f64; 4] = [
        |figures| figures.events_per_second,
        |figures| figures.mebibytes,
        |figures| figures.tasks,
        |figures| figures.workers,
    ];
    let rows = contenders.iter().zip(&rounds).map(|((name, _), rounds)| {
        let cells = figures.map(|figure| format!("{:.0}", of(rounds, figure)));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    });
    print(&["median", "events/s", "MiB", "tasks held", "workers held"], &rows.collect::<Vec<_>>());
    let [ours, theirs] = rounds.each_ref().map(|rounds| of(rounds, |figures| figures.events_per_second));
    println!("celeriac takes {:.1} times as many events/s", ours / theirs);
    Ok(())
}

fn load() -> Command {
    Command::new(workspace_root().join("target/release/celeriac-state-load"))
}

fn feed(mut command: Command, file: &Path) -> Result<Figures> {
    let report = output(command.arg(file))?;
    let figures: Vec<f64> = report.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let &[events_per_second, mebibytes, tasks, workers] = figures.as_slice() else {
        bail!("no four figures in {report:?}");
    };
    Ok(Figures { events_per_second, mebibytes, tasks, workers })
}
