//! A cluster of real processes on a broker of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use celeriac_testkit::{Process, Python, RabbitMq, Signal, TempDir, workspace_root};
use serde_json::Value;

use super::log::{self, Line, lines};
use super::plan::System;
use crate::cargo::output;

const READY: Duration = Duration::from_secs(300);
const EQUAL: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);
/// Each question wakes all, each look reads all their logs: that must not become the load.
const PAUSE: Duration = Duration::from_secs(1);
/// What a worker logs of the cluster when it is asked begins so.
const KNOWS: &str = "knows of ";
/// How many of their different answers are shown.
const SHOWN: usize = 5;
/// What a worker logs of one that is lost, before its name.
pub const LOST: &str = "missed heartbeat from ";

/// Processes that are killed when this is dropped.
pub struct Swarm {
    pub system: System,
    pub workers: Vec<Worker>,
    killed: Vec<Death>,
    begun: f64,
    _logs: TempDir,
    // Last, so that the broker outlives its workers.
    pub server: RabbitMq,
}

/// A worker that was killed.
#[derive(Debug)]
pub struct Death {
    pub name: String,
    /// In seconds since 1970.
    pub at: f64,
}

/// One process.
pub struct Worker {
    pub name: String,
    pub process: Process,
    log: PathBuf,
}

impl Worker {
    /// What it has logged so far: to a file, so that nobody wakes for each line.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of all that it has said.
    fn end_of_log(&self) -> String {
        let log = self.log() + &self.process.log();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// What one worker knows of the cluster.
#[derive(Debug)]
pub struct Answer {
    pub lead: String,
    pub watchers: Vec<String>,
}

impl Swarm {
    /// Starts a broker, and then all workers at once.
    pub fn start(system: System, size: usize) -> Self {
        let server = RabbitMq::start_counted();
        let logs = TempDir::new();
        let begun = log::now();
        let start = |number| {
            let name = format!("w{number}@bench");
            let log = logs.path().join(format!("w{number}.log"));
            Worker { process: Process::start(&command(system, &server.url(), &name, &log)), name, log }
        };
        let workers = (1..=size).map(start).collect();
        Self { system, workers, killed: Vec::new(), begun, _logs: logs, server }
    }

    /// When the first was started, in seconds since 1970.
    pub fn begun(&self) -> f64 {
        self.begun
    }

    /// Those that were not killed.
    pub fn alive(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|worker| !self.killed.iter().any(|death| death.name == worker.name))
    }

    /// Fails when a worker has ended that was not killed.
    pub fn check(&self) -> Result<()> {
        match self.alive().find(|worker| worker.process.exit_status().is_some()) {
            Some(worker) => bail!("{} ended:\n{}", worker.name, worker.end_of_log()),
            None => Ok(()),
        }
    }

    /// Waits for the line `ready.` of each; seconds from the start of the first to the last of these lines.
    pub fn wait_until_ready(&self) -> Result<f64> {
        let ready = |line: &Line<'_>| line.text.ends_with(" ready.");
        let (last, missing) = self.wait_for(READY, ready)?;
        let Some(last) = last.filter(|_| missing.is_empty()) else {
            let worker = self.workers.iter().find(|worker| missing.contains(&worker.name));
            let log = worker.map(|worker| worker.end_of_log()).unwrap_or_default();
            bail!("{} of {} are not ready, as {log}", missing.len(), self.workers.len());
        };
        Ok(last - self.begun)
    }

    /// Waits until each alive worker knows all of them, and the same of them; seconds from the start until the last
    /// of them said so. Python's cannot tell.
    pub fn wait_until_equal(&self) -> Result<f64> {
        if self.system == System::Celery {
            return Ok(f64::NAN);
        }
        let begun = Instant::now();
        loop {
            let known = self.look()?;
            let alive = format!("knows of {} members,", self.alive().count());
            if let [(of, at)] = known.as_slice()
                && of.starts_with(&alive)
            {
                return Ok(at - self.begun);
            }
            if begun.elapsed() > EQUAL {
                let known: Vec<&str> = known.iter().map(|(of, _)| of.as_str()).take(SHOWN).collect();
                bail!("rosters differ after {EQUAL:?}: {known:?}");
            }
            self.check()?;
            thread::sleep(PAUSE);
        }
    }

    /// The different things that the alive workers know when they are asked now, and when the last of them said so.
    fn look(&self) -> Result<Vec<(String, f64)>> {
        let asked = log::now();
        self.alive().for_each(|worker| worker.process.signal(Signal::USR2));
        let says = |line: &Line<'_>| line.at >= asked && line.text.starts_with(KNOWS);
        let mut known: Vec<(String, f64)> = Vec::new();
        let (_, missing) = self.wait_for_log(EQUAL, |log| {
            let (at, text) = lines(log).find(says).map(|line| (line.at, line.text))?;
            match known.iter_mut().find(|(of, _)| of == text) {
                Some((_, last)) => *last = last.max(at),
                None => known.push((text.to_owned(), at)),
            }
            Some(at)
        })?;
        ensure!(missing.is_empty(), "{} say nothing of the cluster: {missing:?}", missing.len());
        Ok(known)
    }

    /// What each worker knows of the cluster; those that do not answer within 3 s are missing.
    pub fn ask(&self) -> Result<Vec<Answer>> {
        let most = self.alive().count().to_string();
        let answers = output(program().args(["ask", &self.server.url(), &most]))?;
        answers.lines().map(|line| answer(line).with_context(|| format!("an answer: {line}"))).collect()
    }

    /// Fails unless each alive worker answers, with the same digest, size and version. Only where there is a lead.
    pub fn check_versions(&self) -> Result<()> {
        let question = ["-b", &self.server.url(), "inspect", "--json", "--timeout", "3", "cluster"];
        let answers: Value = serde_json::from_str(&output(program().args(question))?)?;
        let answers: Vec<&Value> = answers.as_object().context("no answers by name")?.values().collect();
        let mut known: Vec<String> = answers.iter().map(|answer| standing(answer)).collect();
        known.sort_unstable();
        known.dedup();
        let alive = self.alive().count();
        ensure!(answers.len() == alive, "{} of {alive} answer", answers.len());
        ensure!(known.len() == 1, "they know of different clusters: {known:?}");
        let members = answers.first().and_then(|answer| answer["members"].as_u64());
        ensure!(members == Some(alive as u64), "{alive} are alive, and they know of {known:?}");
        Ok(())
    }

    /// Waits until each alive worker has logged such a line: the time of the latest first one, and who has none.
    pub fn wait_for(
        &self,
        deadline: Duration,
        wanted: impl Fn(&Line<'_>) -> bool,
    ) -> Result<(Option<f64>, Vec<String>)> {
        self.wait_for_log(deadline, |log| lines(log).find(|line| wanted(line)).map(|line| line.at))
    }

    /// Waits until the log of each alive worker has a time that is wanted: the latest, and who has none.
    pub fn wait_for_log(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&str) -> Option<f64>,
    ) -> Result<(Option<f64>, Vec<String>)> {
        let begun = Instant::now();
        let mut missing: Vec<&Worker> = self.alive().collect();
        let mut last: Option<f64> = None;
        loop {
            missing.retain(|worker| {
                let Some(at) = wanted(&worker.log()) else { return true };
                last = Some(last.map_or(at, |last| last.max(at)));
                false
            });
            if missing.is_empty() || begun.elapsed() > deadline {
                return Ok((last, missing.into_iter().map(|worker| worker.name.clone()).collect()));
            }
            self.check()?;
            thread::sleep(POLL);
        }
    }

    /// SIGKILLs them at once; the time of it.
    pub fn kill(&mut self, names: &[String]) -> Result<f64> {
        let at = log::now();
        for name in names {
            let worker = self.workers.iter().find(|worker| worker.name == *name);
            worker.with_context(|| format!("no worker {name}"))?.process.signal(Signal::KILL);
        }
        self.killed.extend(names.iter().map(|name| Death { name: name.clone(), at }));
        Ok(at)
    }

    /// How often a worker was called lost that was not killed, or not yet.
    pub fn wrongly_lost(&self) -> usize {
        let wrong = |line: &Line<'_>| {
            let lost = line.text.strip_prefix(LOST);
            lost.is_some_and(|name| {
                !self.killed.iter().any(|death| death.name == name && line.at >= death.at)
            })
        };
        self.workers.iter().map(|worker| lines(&worker.log()).filter(wrong).count()).sum()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // All first, so that none sees the others go one by one.
        self.workers.iter().for_each(|worker| worker.process.signal(Signal::KILL));
    }
}

/// The bench's own program.
pub fn program() -> Command {
    Command::new(workspace_root().join("target/release/celeriac-chatter"))
}

/// A worker with its defaults, apart from the one task at a time.
fn command(system: System, url: &str, name: &str, log: &Path) -> Command {
    let options = ["worker", "-n", name, "-l", "info"];
    let mut command = if system == System::Celery {
        let mut command = Python::find().command();
        command.args(["-m", "celery", "-A", "pyapp"]).args(options).args(["-P", "solo"]);
        command.env("BROKER", url).env("C_FORCE_ROOT", "1");
        command
    } else {
        let mut command = program();
        command.args(["-b", url]).args(options).args(["-c", "1", "--gossip", system.name()]);
        command
    };
    command.arg("-f").arg(log).env("TZ", "UTC");
    command
}

fn standing(answer: &Value) -> String {
    format!("digest {} members {} version {}", answer["digest"], answer["members"], answer["version"])
}

fn answer(line: &str) -> Option<Answer> {
    let fields: Vec<&str> = line.split('\t').collect();
    let &[.., lead, watchers] = fields.as_slice() else { return None };
    Some(Answer { lead: lead.to_owned(), watchers: watchers.split(',').map(str::to_owned).collect() })
}
