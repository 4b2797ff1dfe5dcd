//! A worker of Python Celery.

use std::process::ExitStatus;
use std::time::Duration;

use crate::{Process, Python, Signal};

/// The folder of `pyapp`, a ready-made Celery app with tasks named like those of the example `hello`.
///
/// It takes its broker and backend from the variables `BROKER` and `BACKEND`.
pub const PYAPP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

const START_DEADLINE: Duration = Duration::from_secs(120);

/// A Celery worker that is ready, killed with its children at drop.
#[derive(Debug)]
pub struct CeleryWorker {
    process: Process,
}

impl CeleryWorker {
    /// Starts `celery -A APP worker ARGS` in `app_dir` and waits for its line `ready.`
    ///
    /// # Panics
    /// When it ends or is not ready within two minutes.
    pub fn start(app_dir: &str, app: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Python::find().command();
        command.args(["-m", "celery", "-A", app, "worker", "-l", "info"]).args(args);
        // Celery refuses pickle as root without it.
        command.current_dir(app_dir).env("C_FORCE_ROOT", "1").envs(env.iter().copied());
        let process = Process::start(&command);
        process.wait_for_line(" ready.", START_DEADLINE);
        Self { process }
    }

    /// The process, for its log and signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its standard output and its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks for a warm shutdown and waits for the end.
    ///
    /// # Panics
    /// When it takes more than two minutes.
    pub fn stop(&self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(START_DEADLINE)
    }
}
