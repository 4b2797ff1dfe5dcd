//! Measures celeriac beside its peers, in one run: machines differ and are noisy, ratios hold.

mod chatter;
mod cpu;
mod events;
mod fill;
mod hosted;
mod programs;
mod redis;
mod sqlite;
mod startup;
mod state;
mod table;
mod throughput;

use anyhow::{Context, Result, bail};

pub const USAGE: &str = "\
cargo xtask bench throughput [--count N] [--rounds N] [--only NAME,...]
                           no-op tasks from a filled RabbitMQ queue: celeriac, rusty-celery, bare (a client that only
                           reads and acknowledges), and by --only celery (Python, prefork)
cargo xtask bench events   [--count N] [--rounds N]
                           the same with and without events of tasks: what an event costs celeriac and Celery
cargo xtask bench hosted   [--count N] [--rounds N] [--seconds S] [--soak N] [--only PART,...]
                           one Python app by celeriac and by Celery: speed, cost, latency on an idle worker and at 100
                           tasks/s for S seconds, memory, start; --soak: the parent's memory while N tasks go through
cargo xtask bench startup  [--rounds N]
                           from the start to the line `ready.`, and memory when idle
cargo xtask bench sqlite   [--count N] [--rounds N]
                           no-op tasks through one SQLite file, sent, run by two workers, results stored
cargo xtask bench redis    [--count N] [--rounds N] [--size N] [--only PART,...]
                           the same on Redis by celeriac and by Celery: a Python app (hosted), tasks in Rust (native); what
                           an idle cluster of N workers says (chatter)
cargo xtask bench state    [--count N] [--rounds N]
                           the events of N tasks on 5,000 workers, fed to the cluster's state: celeriac, Celery
cargo xtask bench chatter  [--sizes N,...] [--stream N,...] [--classic N,...] [--python N,...] [--seconds S]
                           [--minutes-loaded M] [--out FOLDER]
                           what idle clusters of N workers say, and what they do when workers die: celeriac's gossips,
                           Celery; for M minutes more the largest with all cores busy; data and plot go to docs/";

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// Messages a round.
    pub count: u32,
    /// Rounds, each with every contender in turn.
    pub rounds: usize,
    /// Names of contenders; all the usual ones when empty.
    pub only: Vec<String>,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self { count: 40_000, rounds: 3, only: Vec::new() };
        for pair in args.chunks(2) {
            let &[name, value] = pair else { bail!("{} has no value\n{USAGE}", pair.concat()) };
            match name {
                "--count" => options.count = value.parse().context("--count")?,
                "--rounds" => options.rounds = value.parse().context("--rounds")?,
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                _ => bail!("no such option: {name}\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

/// Runs the benchmark that the arguments name and prints its table.
///
/// # Errors
/// When a program does not build or does no work.
pub fn bench(args: &[&str]) -> Result<()> {
    match args {
        ["throughput", options @ ..] => throughput::throughput(&Options::parse(options)?),
        ["events", options @ ..] => events::events(&Options::parse(options)?),
        ["startup", options @ ..] => startup::startup(&Options::parse(options)?),
        ["hosted", options @ ..] => hosted::hosted(&hosted::Plan::parse(options)?),
        ["state", options @ ..] => state::state(&Options::parse(options)?),
        ["chatter", options @ ..] => chatter::chatter(&chatter::Plan::parse(options)?),
        ["redis", options @ ..] => redis::redis(&redis::Plan::parse(options)?),
        ["sqlite", options @ ..] => sqlite::sqlite(&Options::parse(options)?),
        _ => bail!("{USAGE}"),
    }
}
