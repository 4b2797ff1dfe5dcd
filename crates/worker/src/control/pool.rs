//! How many tasks run at once, and whether any do.

use std::sync::Arc;

use celeriac_protocol::{Value, repr};

use super::arguments::{Arguments, cut};
use super::command::{CommandError, nok, ok};
use crate::consumer::Consumer;
use crate::shutdown::Shutdown;
use crate::tasks::Change;

/// How far the pool can grow.
const LARGEST: usize = 10_000;

pub(super) fn pool_grow(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    if consumer.autoscaler.is_some() {
        return nok("pool_grow is not for a pool that scales itself: move its bounds by autoscale");
    }
    let concurrency = consumer.executor.concurrency();
    let more = concurrency.saturating_add(arguments.count("n")?);
    if more > LARGEST.max(concurrency) {
        return Err(CommandError::Value(format!("the pool can grow to {LARGEST} slots at most")));
    }
    if resize(consumer, more) < more {
        return Err(CommandError::Value("this pool cannot grow".to_owned()));
    }
    ok("pool will grow")
}

pub(super) fn pool_shrink(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    if consumer.autoscaler.is_some() {
        return nok("pool_shrink is not for a pool that scales itself: move its bounds by autoscale");
    }
    let concurrency = consumer.executor.concurrency();
    let fewer = concurrency.saturating_sub(arguments.count("n")?).max(1);
    if concurrency == 1 {
        return Err(CommandError::Value("Can't shrink pool: it has one slot only".to_owned()));
    }
    resize(consumer, fewer);
    ok("pool will shrink")
}

/// The concurrency that the pool then has.
fn resize(consumer: &Consumer, concurrency: usize) -> usize {
    consumer.executor.resize(concurrency);
    consumer.change(Change::Concurrency);
    consumer.executor.concurrency()
}

pub(super) fn pool_restart(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    if !consumer.settings.pool_restarts {
        return Err(CommandError::Value("Pool restarts not enabled".to_owned()));
    }
    consumer.executor.restart();
    ok("reload started")
}

pub(super) fn autoscale(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let Some(autoscaler) = &consumer.autoscaler else {
        return Err(CommandError::Value("Autoscale not enabled".to_owned()));
    };
    let bounds = autoscaler.bounds();
    let max = arguments.optional_count("max")?.unwrap_or(bounds.max);
    let min = arguments.optional_count("min")?.unwrap_or(bounds.min);
    if !(min.max(1)..=LARGEST).contains(&max) {
        return Err(CommandError::Value(format!("max={max} min={min} are no bounds, which go to {LARGEST}")));
    }
    autoscaler.update(max, min);
    consumer.change(Change::Concurrency);
    ok(format!("autoscale now max={max} min={min}"))
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
