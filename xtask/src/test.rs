//! Runs every test against real servers that are started once.

use std::process::ExitCode;

use anyhow::{Context, Result};
use celeriac_testkit::{AMQP_MANAGEMENT, AMQP_URL, BUILT, REDIS_URL, RabbitMq, Redis};

use crate::cargo::{cargo, run};
use crate::setup::setup;

/// Runs `cargo test --workspace ARGS`; its output comes last, and its exit code is ours.
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
        .env("CELERIAC_TEST_PYTHON", python)
        .env(BUILT, "1");
    let status = tests.status().context("cargo test")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
