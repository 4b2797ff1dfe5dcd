//! The two workers.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, Python, RabbitMq, Vhost, workspace_root};

use crate::bench::programs::Program;
use crate::cargo::{cargo, run};
use crate::setup::setup;

const DEADLINE: Duration = Duration::from_secs(60);

/// Who runs the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    Celery,
    Celeriac,
    /// A client that runs nothing: how soon a message is here at the soonest.
    Bare,
}

/// Builds celeriac in release mode, and installs Celery.
pub fn build() -> Result<()> {
    setup()?;
    run(&mut cargo(["build", "--release", "--package", "celeriac-cli"]))?;
    Program::Bare.build()
}

/// The interpreter, where it finds the app.
pub fn python() -> Command {
    let mut command = Python::find().command();
    command.env("PYTHONPATH", workspace_root().join("benches/hosted"));
    command
}

impl Contender {
    /// Who is measured, in turn.
    pub const ALL: [Self; 3] = [Self::Celery, Self::Celeriac, Self::Bare];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Celery => "celery",
            Self::Celeriac => "celeriac",
            Self::Bare => "bare",
        }
    }

    /// A worker on this virtual host, with these options.
    pub fn on(self, server: &RabbitMq, vhost: &Vhost, options: &[&str]) -> Command {
        match self {
            Self::Bare => Program::Bare.drain(vhost, server.port()),
            _ => self.worker(&vhost.url(), options),
        }
    }

    /// A worker on this broker, with these options.
    pub fn worker(self, url: &str, options: &[&str]) -> Command {
        let python = python();
        let mut command = if self == Self::Celery {
            let mut command = Command::new(python.get_program());
            command.args(["-m", "celery"]);
            command
        } else {
            let mut command = Command::new(workspace_root().join("target/release/celeriac"));
            command.arg("--python").arg(python.get_program());
            command
        };
        command.args(["-A", "benchapp", "worker", "-n", "w1@%h"]).args(options);
        command.envs(python.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("BROKER", url);
        command
    }

    /// The same, started and ready, and after how many seconds it was.
    pub fn start(self, url: &str, options: &[&str]) -> Result<(Process, f64)> {
        let options = [options, &["-l", "info"]].concat();
        let begun = Instant::now();
        let process = Process::start(&self.worker(url, &options));
        while !process.log().contains(" ready.") {
            ensure!(process.exit_status().is_none(), "{} ended:\n{}", self.name(), process.log());
            ensure!(begun.elapsed() < DEADLINE, "{} is not ready:\n{}", self.name(), process.log());
            thread::sleep(Duration::from_millis(1));
        }
        Ok((process, begun.elapsed().as_secs_f64()))
    }
}
