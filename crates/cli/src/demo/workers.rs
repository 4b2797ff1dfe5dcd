//! The demo's worker processes: none of them outlives this one.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
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
        let program = std::env::current_exe()?;
        let start = |number| {
            Command::new(&program)
                .arg("demo-worker")
                .arg(dir)
                .arg(format!("w{number}@demo"))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        };
        let workers: std::io::Result<_> = (1..=COUNT).map(start).collect();
        workers.map(Workers).context("cannot start the workers")
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
        let end = async |child: &mut Child| {
            drop(child.stdin.take());
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        };
        join_all(self.0.iter_mut().map(end)).await;
    }
}

/// Waits without closing the pipe, which [`Child::wait`] does first.
async fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    let pipe = child.stdin.take();
    let status = child.wait().await;
    child.stdin = pipe;
    status
}
