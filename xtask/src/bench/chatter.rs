//! What an idle cluster of N workers says, as real processes on one RabbitMQ, and what happens when some of them die.

mod faults;
mod log;
mod plan;
mod report;
mod rest;
pub mod swarm;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use celeriac_testkit::{Process, workspace_root};

use crate::cargo::{cargo, run};
use crate::setup::setup;
use faults::{crash, elect, kill_watchers};
pub use plan::Plan;
use plan::System;
use report::Row;
use swarm::Swarm;

/// What follows a start or a change is over by then: Celery's own measurement waits as long.
const SETTLE: Duration = Duration::from_secs(15);
/// The largest cluster of candidates of which each tells all the others: it costs N³ messages.
const CANDIDATES: usize = 40;

/// Runs each cluster of the plan on a broker of its own, prints tables, and draws the plot.
///
/// # Errors
/// When a program does not build, or some cluster did not do what it must.
pub fn chatter(plan: &Plan) -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "celeriac-chatter"]))?;
    setup()?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (system, size) in plan.clusters() {
        eprintln!("{} x {size}", system.name());
        let mut row = Row::new(system, size);
        for error in cluster(plan, system, size, &mut row) {
            eprintln!("  failed: {error:#}");
            failed.push(format!("{} x {size}: {error:#}", system.name()));
        }
        rows.push(row);
    }
    report::print_all(&rows);
    // There is nothing to draw when none came to rest.
    if rows.iter().any(Row::is_measured) {
        let saved = report::save(&rows, &workspace_root().join(&plan.out));
        failed.extend(saved.err().map(|error| format!("{error:#}")));
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

/// Measures what can be measured, whatever fails before or beside it; what failed.
fn cluster(plan: &Plan, system: System, size: usize, row: &mut Row) -> Vec<Error> {
    let mut swarm = Swarm::start(system, size);
    let mut failed = Vec::new();
    match swarm.wait_until_ready() {
        Ok(seconds) => row.put("ready", seconds),
        Err(error) => return vec![error],
    }
    // A cluster that falls behind its own chatter has a rate of messages all the same.
    match swarm.wait_until_equal() {
        Ok(seconds) => row.put("equal", seconds),
        Err(error) => failed.push(error),
    }
    let start = swarm.server.totals();
    row.put("start published", start.published as f64);
    row.put("start delivered", start.delivered as f64);
    thread::sleep(SETTLE);
    let rest = rest::measure(&swarm, Duration::from_secs(plan.seconds));
    rest.put(row);
    if size > 1 && (system.leads() || size <= CANDIDATES) {
        failed.extend(elect(&mut swarm, &rest, row).err());
    }
    if size > 1 {
        failed.extend(crash(&mut swarm, row).err());
    }
    if system.leads() && size > 3 {
        failed.extend(kill_watchers(&mut swarm, row).err());
    }
    if plan.is_loaded(system, size) {
        match load(&mut swarm, Duration::from_secs(plan.minutes_loaded * 60)) {
            Ok(()) => row.put("loaded minutes", plan.minutes_loaded as f64),
            Err(error) => failed.push(error),
        }
    }
    row.put("wrongly lost", swarm.wrongly_lost() as f64);
    failed
}

/// Keeps every core busy with something else; whoever is left then knows the same as all others, when they are idle.
fn load(swarm: &mut Swarm, time: Duration) -> Result<()> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let mut spin = std::process::Command::new("sh");
    spin.args(["-c", "while :; do :; done"]);
    let busy: Vec<Process> = (0..cores).map(|_| Process::start(&spin)).collect();
    let begun = Instant::now();
    while begun.elapsed() < time {
        thread::sleep(Duration::from_secs(10));
        swarm.check()?;
    }
    drop(busy);
    // What was late is told by then.
    thread::sleep(SETTLE);
    swarm.wait_until_equal()?;
    swarm.check_versions()
}
