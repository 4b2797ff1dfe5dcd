//! The example `hello` on an embedded broker of its own.

use std::process::{Command, Output};
use std::time::Duration;

use celeriac::{App, AsyncResult, State, Value};
use celeriac_testkit::{Process, Signal, TempDir, eventually, example_bin};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// The program and the folder of its broker and results.
pub struct Hello {
    pub dir: TempDir,
}

impl Hello {
    pub fn new() -> Self {
        Hello { dir: TempDir::new() }
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:///{}", self.dir.path().join(name).display())
    }

    /// The program's command line, all of the variables that it listens to unset.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(example_bin("hello"));
        command.args(["-b", &self.url("broker.db"), "--result-backend", &self.url("results.db")]).args(args);
        let revokes = ["CELERY_WORKER_REVOKES_MAX", "CELERY_WORKER_REVOKE_EXPIRES"];
        for name in ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "NO_COLOR"].into_iter().chain(revokes) {
            command.env_remove(name);
        }
        command.current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().unwrap().into()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.stdout
    }

    /// Starts a worker and waits until it is ready.
    pub fn worker(&self, args: &[&str]) -> Process {
        let worker = Process::start(&self.command(&[&["worker", "-l", "info"], args].concat()));
        worker.wait_for_line(" ready.", DEADLINE);
        worker
    }

    /// Calls a task and returns its id.
    pub fn call(&self, task: &str, args: &str) -> String {
        self.ok(&["call", task, "-a", args]).trim().to_owned()
    }

    /// Waits until a task is in a state. The worker must be told to track what it has started.
    pub fn wait_for(&self, id: &str, state: &State) {
        let app =
            App::builder("test").broker("memory://").result_backend(self.url("results.db")).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result: AsyncResult<Value> = app.result(id);
        eventually(DEADLINE, "the task's state", || {
            (runtime.block_on(result.state()).unwrap() == *state).then_some(())
        });
    }
}

/// What became of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Sends signals, and returns the exit code.
pub fn end(process: &Process, signals: &[Signal]) -> Option<i32> {
    for signal in signals {
        process.signal(*signal);
    }
    process.wait(DEADLINE).code()
}
