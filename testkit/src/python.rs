//! The Python interpreter that has Celery.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::{PYAPP, Process, workspace_root};

const DEADLINE: Duration = Duration::from_secs(120);

/// A Python interpreter with Celery: `CELERIAC_TEST_PYTHON`, else `.venv/bin/python` of the workspace.
#[derive(Clone, Debug)]
pub struct Python {
    path: PathBuf,
}

impl Python {
    /// Finds it.
    ///
    /// # Panics
    /// When there is none.
    pub fn find() -> Self {
        let own = || workspace_root().join(".venv/bin/python");
        let path = env::var_os("CELERIAC_TEST_PYTHON").map_or_else(own, PathBuf::from);
        assert!(
            path.exists(),
            "{} does not exist: run `cargo xtask setup`, or the tests by `cargo xtask test`",
            path.display()
        );
        Self { path }
    }

    /// A command that runs the interpreter with [`PYAPP`] importable.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("PYTHONPATH", PYAPP).env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs a script and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with its standard error, or runs for more than two minutes.
    pub fn run(&self, script: &str, args: &[&str], env: &[(&str, &str)]) -> String {
        let mut command = self.command();
        command.args(["-c", script]).args(args).envs(env.iter().copied());
        let process = Process::start(&command);
        let status = process.wait(DEADLINE);
        assert!(status.success(), "Python, {status}:\n{}{}", process.stdout(), process.stderr());
        process.stdout()
    }
}
