//! A program with tasks, a client and a worker: `cargo run --release --example hello -- worker -l info`.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use celeriac::{App, Map, Task, TaskError, Value};

/// A worker frees on one thread what it allocated on another: this saves it a quarter of its CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[celeriac::task(name = "tasks.add")]
async fn add(x: i64, y: i64) -> Result<i64, TaskError> {
    x.checked_add(y).ok_or_else(|| TaskError::new("OverflowError", "the sum does not fit 64 bits"))
}

#[celeriac::task(name = "tasks.noop")]
async fn noop(#[args] _any: Vec<Value>, #[kwargs] _more: Map) {}

#[celeriac::task(name = "tasks.echo")]
async fn echo(value: Value) -> Value {
    value
}

/// What the body of a chord may be.
#[celeriac::task(name = "tasks.xsum")]
async fn xsum(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

/// Waits without a thread: thousands may wait at once.
#[celeriac::task(name = "tasks.sleep")]
async fn sleep(seconds: f64) -> Result<f64, TaskError> {
    tokio::time::sleep(duration(seconds)?).await;
    Ok(seconds)
}

/// Waits on a thread of its own: not `async`, it may block.
#[celeriac::task(name = "tasks.block")]
fn block(seconds: f64) -> Result<f64, TaskError> {
    thread::sleep(duration(seconds)?);
    Ok(seconds)
}

#[celeriac::task(name = "tasks.fail")]
async fn fail(message: String) -> Result<(), TaskError> {
    Err(TaskError::new("ValueError", message))
}

/// Fails until it was retried `times` times, and returns how often that was.
#[celeriac::task(name = "tasks.flaky", bind, max_retries = None)]
async fn flaky(task: Task, times: u32) -> Result<u32, TaskError> {
    if task.retries() < times {
        return Err(task.retry_in(Duration::from_millis(100)));
    }
    Ok(task.retries())
}

fn duration(seconds: f64) -> Result<Duration, TaskError> {
    Duration::try_from_secs_f64(seconds).map_err(|error| TaskError::new("ValueError", error.to_string()))
}

fn main() -> ExitCode {
    let app = App::builder("hello")
        .task(add)
        .task(noop)
        .task(echo)
        .task(xsum)
        .task(sleep)
        .task(block)
        .task(fail)
        .task(flaky)
        .build();
    match app {
        Ok(app) => celeriac::cli::main(app),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
