//! One worker process of the demo.

use std::path::Path;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;
use celeriac::Shutdown;

/// Runs until standard input ends, which it does with the process that started this one.
pub fn run(dir: &Path, name: &str) -> Result<ExitCode> {
    let app = super::app(dir)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut settings = app.settings().clone();
    settings.hostname = name.to_owned();
    settings.concurrency = cores.div_ceil(2);
    let worker = app.worker_with(settings);
    let shutdown = worker.shutdown_handle();
    super::workers::at_end_of_input(move || {
        shutdown.request(Shutdown::Cold);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(worker.run());
    runtime.shutdown_background();
    // Where the starter was killed, nobody else does.
    let _ = std::fs::remove_dir_all(dir);
    done?;
    Ok(ExitCode::SUCCESS)
}
