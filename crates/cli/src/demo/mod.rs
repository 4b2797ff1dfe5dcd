//! `celeriac demo`: real work by two worker processes on an embedded broker.

mod progress;
pub mod python;
mod summary;
mod task;
mod walk;
pub mod worker;
mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use celeriac::{App, ResultError};
use futures_util::{StreamExt, stream};
use serde_bytes::ByteBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use progress::Progress;
use python::Words;
use summary::Summary;
use task::{Digest, digest};
use walk::Found;
use workers::Workers;

/// How many files are on their way at once: it bounds memory, whatever the folder's size.
const IN_FLIGHT: usize = 512;

/// The exit code of a program that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// Hashes the files of a folder and shows a table.
pub fn run(folder: &Path) -> Result<ExitCode> {
    let metadata = std::fs::metadata(folder).with_context(|| folder.display().to_string())?;
    ensure!(metadata.is_dir(), "{} is not a folder", folder.display());
    let folder = folder.canonicalize()?;
    let dir = tempfile::Builder::new().prefix("celeriac-demo-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut workers = Workers::start(dir.path())?;
        let done = tokio::select! {
            summary = work(&folder, dir.path()) => summary.map(Some),
            died = workers.all_died() => Err(died),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        };
        workers.end().await;
        done
    });
    // The walk may still be reading: it ends with the process.
    runtime.shutdown_background();
    // The workers may have removed it: where this process is killed, nobody else does.
    drop(dir);
    match done? {
        Some((summary, words)) => {
            print!("{summary}");
            match words {
                Ok(Some(words)) => print!("{words}"),
                Ok(None) => println!("\nPython tasks are left out: there is no Python with Celery."),
                Err(error) => println!("\nThe Python tasks did not run: {error:#}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        None => {
            eprintln!("celeriac: stopped; the workers have ended and the temporary folder is gone");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// The app that the demo and its workers share.
fn app(dir: &Path) -> Result<App> {
    let url = |name| -> Result<String> {
        let path = dir.join(name);
        let path = path.to_str().context("the path of the temporary folder is not UTF-8")?;
        Ok(format!("sqlite:///{}", path.replace('%', "%25").replace('?', "%3F")))
    };
    Ok(App::builder("demo")
        .broker(url("broker.db")?)
        .result_backend(url("results.db")?)
        .task(digest)
        .build()?)
}

/// The tasks in Rust, then those in Python, which nobody needs.
async fn work(folder: &Path, dir: &Path) -> Result<(Summary, Result<Option<Words>>)> {
    let (summary, first) = hash(folder, dir).await?;
    Ok((summary, python::count(dir, &first).await))
}

/// Sends a task for each file and gathers what comes of them; and the first of these files.
async fn hash(folder: &Path, dir: &Path) -> Result<(Summary, Vec<PathBuf>)> {
    let app = app(dir)?;
    let (found, mut files) = mpsc::channel(IN_FLIGHT);
    let progress = Progress::new();
    let (root, walked) = (folder.to_owned(), progress.clone());
    tokio::task::spawn_blocking(move || walk::walk(&root, &found, &walked));

    let (mut summary, mut first) = (Summary::new(folder), Vec::new());
    let start = Instant::now();
    let mut outcomes = stream::poll_fn(|context| files.poll_recv(context))
        .map(async |found| match found {
            Found::File(path) => (ask(&app, &path).await, path),
            Found::Unreadable(path, error) => (Ok(Err(error)), path),
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some((outcome, path)) = outcomes.next().await {
        let outcome = outcome?;
        if outcome.is_ok() && first.len() < python::FILES {
            first.push(path.clone());
        }
        summary.add(&path, outcome);
        progress.done();
    }
    drop(outcomes);
    summary.elapsed = start.elapsed();
    progress.finish();
    app.close().await;
    Ok((summary, first))
}

/// Runs the task for one file; the inner error is the file's, the outer one ours.
async fn ask(app: &App, path: &Path) -> Result<Result<Digest, String>> {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    let result = app.send(digest::new(ByteBuf::from(bytes))).await?;
    match result.get().await {
        Ok(digest) => Ok(Ok(digest)),
        Err(ResultError::Task { exception, .. }) => Ok(Err(exception.text())),
        Err(error) => Err(error.into()),
    }
}
