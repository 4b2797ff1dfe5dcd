//! Python tasks, where there is a Python with Celery: an unchanged Celery app, run by this very program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use celeriac::{ResultError, TaskCall};
use celeriac_python::host::find_python;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::process::Command;

use super::workers;

/// So many files are counted: Python is to be seen at work, not to be waited for.
pub const FILES: usize = 500;
const APP: &str = include_str!("celeriac_demo.py");
const QUEUE: &str = "python";

/// What came of the Python tasks.
pub struct Words {
    celery: String,
    words: u64,
    files: usize,
    elapsed: Duration,
}

/// Has Python count the words of these files; nothing without a Python that has Celery.
pub async fn count(dir: &Path, files: &[PathBuf]) -> Result<Option<Words>> {
    let Ok(python) = find_python(None) else { return Ok(None) };
    let Some(celery) = celery(&python).await else { return Ok(None) };
    std::fs::write(dir.join("celeriac_demo.py"), APP)?;
    let mut worker =
        workers::spawn("demo-python", dir, python.to_str().context("Python's path is not UTF-8")?)?;
    let counted = tokio::select! {
        counted = ask(dir, files) => counted,
        status = workers::wait(&mut worker) => bail!("the Python worker has ended: {}", status?),
    };
    workers::end(&mut worker).await;
    let (words, elapsed) = counted?;
    Ok(Some(Words { celery, words, files: files.len(), elapsed }))
}

/// The version of Celery that an interpreter has.
async fn celery(python: &Path) -> Option<String> {
    let mut asked = Command::new(python);
    asked.args(["-c", "import celery; print(celery.__version__)"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = asked.output().await.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Sends a task for each file, after one that waits for the worker's start; all words, and how long it took.
async fn ask(dir: &Path, files: &[PathBuf]) -> Result<(u64, Duration)> {
    let app = super::app(dir)?;
    let words = async |path: PathBuf| -> Result<u64> {
        let call = TaskCall::<u64>::new("demo.words").arg(&path).queue(QUEUE);
        match app.send(call).await?.get().await {
            Ok(words) => Ok(words),
            // One that cannot be read has none.
            Err(ResultError::Task { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    };
    words(PathBuf::from("/dev/null")).await?;
    let start = Instant::now();
    let counts = stream::iter(files.iter().cloned()).map(words).buffer_unordered(super::IN_FLIGHT);
    let sum = counts.try_fold(0, async |sum, words| Ok(sum + words)).await?;
    app.close().await;
    Ok((sum, start.elapsed()))
}

/// The worker: `celeriac -A celeriac_demo worker` in the demo's folder, which ends with its standard input.
pub fn worker(dir: &Path, python: &str) -> Result<ExitCode> {
    std::env::set_current_dir(dir)?;
    workers::at_end_of_input(|| {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
    let line = ["--python", python, "-A", "celeriac_demo", "worker", "-Q", QUEUE, "-n", "python@demo", "-q"];
    let quiet = ["-l", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"];
    let words: Vec<_> = line.into_iter().chain(quiet).map(str::to_owned).collect();
    let code = crate::python::run(&words);
    // Where the starter was killed, nobody else does.
    let _ = std::fs::remove_dir_all(dir);
    code.context("this is a command line for a Python app")
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.files as f64 / seconds.max(f64::EPSILON);
        writeln!(f, "\nPython tasks (an app of Celery {}), {} of these files:\n", self.celery, self.files)?;
        writeln!(f, "  words       {:>14}", self.words)?;
        writeln!(f, "  seconds     {seconds:>14.2}")?;
        writeln!(f, "  tasks/s     {rate:>14.0}")
    }
}
