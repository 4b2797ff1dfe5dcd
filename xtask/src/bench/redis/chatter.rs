//! What an idle cluster of celeriac's workers says over Redis, by their own count.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use celeriac_testkit::{Process, Redis};
use serde_json::Value;

use crate::bench::chatter::swarm::program;
use crate::bench::cpu;
use crate::bench::table::{median, print};
use crate::cargo::{cargo, output, run};

const READY: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);
/// After the start, until all that it caused was said.
const SETTLE: Duration = Duration::from_secs(20);
const SPAN: Duration = Duration::from_secs(20);
/// For the answers of all.
const PATIENCE: &str = "5";

/// What all have sent and received, apart from the question itself, when it was asked, and what Redis has used.
struct Count {
    at: Instant,
    sent: u64,
    received: u64,
    redis: f64,
}

/// Starts so many workers at once, and counts while they have nothing to do.
pub fn chatter(size: usize) -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "celeriac-chatter"]))?;
    let server = Redis::start();
    let begun = Instant::now();
    let workers: Vec<Process> =
        (1..=size).map(|number| Process::start(&worker(&server.url(0), number))).collect();
    while let Some(late) = workers.iter().find(|worker| !worker.log().contains(" ready.")) {
        ensure!(late.exit_status().is_none(), "a worker ended:\n{}", late.log());
        ensure!(begun.elapsed() < READY, "a worker is not ready:\n{}", late.log());
        thread::sleep(POLL);
    }
    let ready = begun.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let first = count(&server, size)?;
    thread::sleep(SPAN);
    let last = count(&server, size)?;
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let per_worker = |more: u64| more as f64 / seconds / size as f64;
    let sockets = server.cli(&["CLIENT", "LIST"]).lines().count();
    let resident = median(workers.iter().filter_map(|worker| cpu::resident(worker.id())).collect());
    let row = vec![
        size.to_string(),
        format!("{ready:.1}"),
        format!("{:.2}", per_worker(last.sent - first.sent)),
        format!("{:.2}", per_worker(last.received - first.received)),
        format!("{:.2}", sockets as f64 / size as f64),
        format!("{:.1}", (last.redis - first.redis) / seconds * 100.0),
        format!("{resident:.1}"),
    ];
    let head = [
        "workers on Redis",
        "s to ready",
        "sent/s each",
        "received/s each",
        "sockets each",
        "Redis CPU %",
        "MiB each",
    ];
    print(&head, &[row]);
    Ok(())
}

fn worker(url: &str, number: usize) -> Command {
    let mut command = program();
    command.args(["-b", url, "worker", "-n", &format!("w{number}@bench"), "-l", "info", "-c", "1"]);
    command
}

fn count(server: &Redis, size: usize) -> Result<Count> {
    let (at, redis) = (Instant::now(), cpu::own(server.id()));
    let url = server.url(0);
    let question = ["-b", &url, "inspect", "--json", "--timeout", PATIENCE, "stats"];
    let answers: Value = serde_json::from_str(&output(program().args(question))?)?;
    let answers = answers.as_object().context("no answers by name")?;
    ensure!(answers.len() == size, "{} of {size} answer", answers.len());
    let sum = |way: &str| -> u64 {
        let kinds = answers.values().filter_map(|answer| answer["celeriac"]["chatter"][way].as_object());
        let chatter = kinds.flatten().filter(|(kind, _)| !kind.starts_with("control."));
        chatter.filter_map(|(_, count)| count.as_u64()).sum()
    };
    Ok(Count { at, sent: sum("sent"), received: sum("received"), redis })
}
