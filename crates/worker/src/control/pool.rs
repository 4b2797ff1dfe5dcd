//! How many tasks run at once, and whether any do.

use std::sync::Arc;

use celeriac_protocol::{Value, repr};

use super::arguments::{Arguments, cut};
use super::command::{CommandError, ok};
use crate::consumer::Consumer;
use crate::shutdown::Shutdown;
use crate::tasks::Change;

/// How far the pool can grow.
const LARGEST: usize = 10_000;

pub(super) fn pool_grow(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let concurrency = consumer.executor.concurrency();
    let more = concurrency.saturating_add(arguments.count("n")?);
    if more > LARGEST.max(concurrency) {
        return Err(CommandError::Value(format!("the pool can grow to {LARGEST} slots at most")));
    }
    resize(consumer, more);
    ok("pool will grow")
}

pub(super) fn pool_shrink(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let concurrency = consumer.executor.concurrency();
    let fewer = concurrency.saturating_sub(arguments.count("n")?).max(1);
    if concurrency == 1 {
        return Err(CommandError::Value("Can't shrink pool: it has one slot only".to_owned()));
    }
    resize(consumer, fewer);
    ok("pool will shrink")
}

fn resize(consumer: &Consumer, concurrency: usize) {
    consumer.executor.resize(concurrency);
    consumer.change(Change::Concurrency);
}

pub(super) fn pool_restart(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    if !consumer.settings.pool_restarts {
        return Err(CommandError::Value("Pool restarts not enabled".to_owned()));
    }
    consumer.executor.restart();
    ok("reload started")
}

pub(super) fn autoscale(_: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    Err(CommandError::Value("Autoscale not enabled".to_owned()))
}

pub(super) fn shutdown(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    match arguments.take("msg") {
        Value::Null => tracing::warn!("Got shutdown from remote"),
        Value::String(message) => tracing::warn!("{}", cut(&message)),
        other => tracing::warn!("{}", repr::value(&other)),
    }
    consumer.shutdown.request(Shutdown::Warm);
    Ok(Value::Null)
}
