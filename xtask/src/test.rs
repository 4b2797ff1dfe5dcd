//! Runs every test against real servers that are started once.

use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::thread::{self, available_parallelism};

use anyhow::{Context, Result, anyhow};
use celeriac_testkit::{AMQP_MANAGEMENT, AMQP_URL, BUILT, REDIS_URL, RabbitMq, Redis, workspace_root};

use crate::cargo::{cargo, run};
use crate::setup::setup;

/// Runs `cargo test --workspace ARGS`, and without ARGS Python's own tests; the first exit code that is bad is ours.
///
/// # Errors
/// When the tests could not be started.
pub fn test(args: &[&str]) -> Result<ExitCode> {
    let python = setup()?;
    run(&mut cargo(["build", "--workspace", "--bins", "--examples"]))?;
    run(&mut cargo(["test", "--workspace", "--no-run", "--quiet"]))?;
    eprintln!("starting RabbitMQ and Redis");
    let (rabbitmq, redis) = (RabbitMq::start(), Redis::start());
    let mut tests = cargo(["test", "--workspace", "--no-fail-fast"]);
    tests
        .args(args)
        .env(AMQP_URL, rabbitmq.url())
        .env(AMQP_MANAGEMENT, format!("http://127.0.0.1:{}", rabbitmq.management_port()))
        .env(REDIS_URL, redis.url(0))
        .env("RUST_TEST_THREADS", abreast().to_string())
        .env("CELERIAC_TEST_PYTHON", &python)
        .env(BUILT, "1");
    // They take half a minute, in which the others mostly wait.
    let beside = args.is_empty().then(|| thread::spawn(move || hosted(&python)));
    let status = tests.status().context("cargo test")?;
    if let Some(beside) = beside {
        let ran = beside.join().map_err(|_| anyhow!("the thread of python -m unittest"))??;
        eprint!("python/celeriac:\n{}", String::from_utf8_lossy(&ran.stderr));
        if status.success() && !ran.status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// How many tests run at once: most wait for a server or a timeout, and leave the processors to others meanwhile.
fn abreast() -> usize {
    3 * available_parallelism().map_or(2, usize::from)
}

/// Runs the tests of what runs inside Python.
fn hosted(python: &Path) -> Result<Output> {
    let mut tests = Command::new(python);
    tests
        .args(["-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .current_dir(workspace_root().join("python"));
    tests.output().context("python -m unittest")
}
