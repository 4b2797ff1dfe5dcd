//! The example `hello` as a worker on real servers, with Python's clients.

mod faults;
mod python_client;
mod volume;

use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{Process, example_bin};

pub const DEADLINE: Duration = Duration::from_secs(120);

/// A running `hello` worker.
pub fn worker(broker: &str, backend: &str, options: &[&str]) -> Process {
    let mut command = Command::new(example_bin("hello"));
    command.args(["-b", broker, "--result-backend", backend, "worker", "-l", "info"]).args(options);
    let process = Process::start(&command);
    process.wait_for_line(" ready.", DEADLINE);
    process
}
