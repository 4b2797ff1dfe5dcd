//! The demo's worker processes: none of them outlives this one.

use std::io::Read;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use futures_util::future::join_all;
use tokio::process::{Child, Command};

const COUNT: usize = 2;
/// How long a worker may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Running workers. Each holds the other end of a pipe, and ends when ours is closed, by whatever cause.
pub struct Workers(Vec<Child>);

impl Workers {
    /// Starts them, in process groups of their own: Ctrl-C is for this process, which ends them.
    pub fn start(dir: &Path) -> Result<Self> {
        let workers = (1..=COUNT).map(|number| spawn("demo-worker", dir, &format!("w{number}@demo")));
        workers.collect::<Result<_>>().map(Workers)
    }

    /// Waits until none is left, which must not happen.
    pub async fn all_died(&mut self) -> Error {
        let ends: Vec<std::io::Result<ExitStatus>> =
            join_all(self.0.iter_mut().map(async |child| wait(child).await)).await;
        let ends: Vec<_> =
            ends.into_iter().map(|end| end.map_or_else(|e| e.to_string(), |s| s.to_string())).collect();
        anyhow!("all workers have died ({})", ends.join(", "))
    }

    /// Ends them and waits for that.
    pub async fn end(mut self) {
        join_all(self.0.iter_mut().map(end)).await;
    }
}

/// Starts this program as one of the demo's workers.
pub fn spawn(command: &str, dir: &Path, argument: &str) -> Result<Child> {
    let mut worker = Command::new(std::env::current_exe()?);
    worker.arg(command).arg(dir).arg(argument);
    // Celery warns root of tasks that others send: here nobody does.
    worker.env("C_FORCE_ROOT", "1");
    worker.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
    worker.spawn().context("cannot start a worker")
}

/// In a worker: does this when the process that started it has ended, or has closed the pipe.
pub fn at_end_of_input(then: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        then();
    });
}

/// Ends a worker and waits for that.
pub async fn end(worker: &mut Child) {
    drop(worker.stdin.take());
    if tokio::time::timeout(GRACE, worker.wait()).await.is_err() {
        let _ = worker.kill().await;
    }
}

/// Waits without closing the pipe, which [`Child::wait`] does first.
pub async fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    let pipe = child.stdin.take();
    let status = child.wait().await;
    child.stdin = pipe;
    status
}
