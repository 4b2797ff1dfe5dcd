//! The example `hello` on Redis, in a cluster with Python's workers and clients.

mod chords;
mod cluster;
mod faults;
mod mixed;
mod results;

use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{CeleryWorker, PYAPP, Process, Python, example_bin, redis};

pub const DEADLINE: Duration = Duration::from_secs(120);

/// Databases of our own for a broker and its results.
pub struct Site {
    pub broker: String,
    pub results: String,
}

impl Site {
    pub fn new() -> Self {
        Site { broker: redis().fresh_url(), results: redis().fresh_url() }
    }

    /// A worker of ours that is ready; `name@test`.
    pub fn ours(&self, name: &str, options: &[&str]) -> Process {
        let mut command = Command::new(example_bin("hello"));
        command.args(["-b", &self.broker, "--result-backend", &self.results, "worker", "-l", "debug"]);
        let process = Process::start(command.args(["-n", &format!("{name}@test")]).args(options));
        process.wait_for_line(" ready.", DEADLINE);
        process
    }

    /// A worker of Python's that is ready; `name@test`, in one process.
    pub fn theirs(&self, name: &str, options: &[&str]) -> CeleryWorker {
        let name = format!("{name}@test");
        let args: Vec<_> =
            ["-P", "solo", "-n", &name, "-l", "debug"].iter().chain(options).copied().collect();
        CeleryWorker::start(PYAPP, "pyapp", &args, &[("BROKER", &self.broker), ("BACKEND", &self.results)])
    }

    /// Runs a script with an `app` here, and returns what it printed.
    pub fn python(&self, script: &str) -> String {
        let script = format!("import sys, json\nfrom pyapp import app\n{script}");
        let env = [("BROKER", self.broker.as_str()), ("BACKEND", self.results.as_str())];
        Python::find().run(&script, &[], &env)
    }

    /// What Redis answers, in the broker's database.
    pub fn redis(&self, words: &[&str]) -> String {
        let database = self.broker.rsplit('/').next().unwrap_or_default();
        redis().cli(&[&["-n", database], words].concat()).trim().to_owned()
    }
}
