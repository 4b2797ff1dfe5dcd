//! Runs every test against real servers that are started once.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
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
        .env("CELERIAC_TEST_PYTHON", &python)
        .env(BUILT, "1");
    let status = tests.status().context("cargo test")?;
    if args.is_empty() && status.success() {
        return hosted(&python);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the tests of what runs inside Python.
fn hosted(python: &Path) -> Result<ExitCode> {
    eprintln!("testing python/celeriac");
    let mut tests = Command::new(python);
    tests
        .args(["-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .current_dir(workspace_root().join("python"));
    let status = tests.status().context("python -m unittest")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
