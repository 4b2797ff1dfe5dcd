//! The example `hello` as a worker in a cluster with Python's workers, clients and monitors.

mod article;
mod elections;
mod flower;
mod hostile;
mod mixed;
mod remote;

use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{CeleryWorker, PYAPP, Process, Python, Vhost, example_bin};

pub const DEADLINE: Duration = Duration::from_secs(120);

/// A worker of ours that is ready; `name@test`, without results.
pub fn ours(vhost: &Vhost, name: &str, options: &[&str]) -> Process {
    let mut command = Command::new(example_bin("hello"));
    command.args(["-b", &vhost.url(), "worker", "-l", "debug", "-c", "2", "-n", &format!("{name}@test")]);
    let process = Process::start(command.args(options));
    process.wait_for_line(" ready.", DEADLINE);
    process
}

/// A worker of Python's that is ready; `name@test`, in one process and without results.
pub fn theirs(vhost: &Vhost, name: &str, options: &[&str]) -> CeleryWorker {
    let name = format!("{name}@test");
    let args: Vec<_> = ["-P", "solo", "-n", &name, "-l", "debug"].iter().chain(options).copied().collect();
    CeleryWorker::start(PYAPP, "pyapp", &args, &[("BROKER", &vhost.url())])
}

/// Runs a script with an `app` on this broker, and returns what it printed.
pub fn python(vhost: &Vhost, script: &str) -> String {
    let script = format!("import sys, json\nfrom pyapp import app\n{script}");
    Python::find().run(&script, &[], &[("BROKER", &vhost.url())])
}
