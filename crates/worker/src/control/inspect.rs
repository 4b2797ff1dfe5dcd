//! What a worker is asked about itself and its requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_cluster::mingle;
use celeriac_protocol::{Map, Value, time};

use super::arguments::{Arguments, cut, maybe_list};
use super::command::{CommandError, ok};
use crate::consumer::Consumer;
use crate::mingle::{monotonic, watched};
use crate::request::{Facts, Stage};
use crate::wall::now;

/// How many bytes of bodies one answer decodes; after that it shows the arguments as their callers printed them.
const DECODED: usize = 16 << 20;
/// The priority of everything that waits for its time (`celery/worker/strategy.py`).
const PRIORITY: i64 = 6;

pub(super) fn ping(_: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    ok("pong")
}

pub(super) fn clock(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    Ok(Map::from_iter([("clock", Value::from(consumer.clock.value()))]).into())
}

/// Answers a worker that starts.
pub(super) fn hello(consumer: &Arc<Consumer>, arguments: Arguments) -> Result<Value, CommandError> {
    let arguments = arguments.rest();
    hear_hello(consumer, &arguments)?;
    let hostname = consumer.hostname();
    let answer = consumer.revokes.look_at_ids(false, |ids| {
        mingle::answer(hostname, &arguments, &consumer.clock, ids, now(), monotonic())
    });
    let Some(reply) = answer.map_err(|error| CommandError::Argument(error.to_string()))? else {
        return Ok(Value::Null);
    };
    tracing::info!("sync with {}", cut(from_node(&arguments)));
    Ok(reply)
}

/// Takes over what a worker that starts tells, which is all where others answer it.
pub(super) fn hear_hello(consumer: &Consumer, arguments: &Map) -> Result<(), CommandError> {
    // What the watchers were told comes to who gossips with them, with its age: here it would be stamped anew.
    if watched(arguments) == Some(true) && consumer.cluster.standing().is_some() {
        return Ok(());
    }
    let hostname = consumer.hostname();
    let heard = consumer.revokes.change_ids(|ids| mingle::hear(hostname, arguments, ids, now()));
    if let Some(error) = heard.map_err(|error| CommandError::Argument(error.to_string()))? {
        consumer.counters.invalid_control.count();
        tracing::error!("revokes of {} are not taken over: {error}", cut(from_node(arguments)));
    }
    Ok(())
}

fn from_node(arguments: &Map) -> &str {
    arguments.get("from_node").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn active(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let mut bodies = if arguments.flag("safe") { 0 } else { DECODED };
    let active = consumer.requests.at(Stage::Active);
    Ok(Value::List(active.iter().map(|facts| info(consumer, facts, &mut bodies)).collect()))
}

pub(super) fn reserved(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let mut bodies = DECODED;
    let reserved = consumer.requests.at(Stage::Reserved);
    Ok(Value::List(reserved.iter().map(|facts| info(consumer, facts, &mut bodies)).collect()))
}

pub(super) fn scheduled(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let mut bodies = DECODED;
    let mut scheduled = consumer.requests.at(Stage::Scheduled);
    scheduled.sort_by_key(|facts| facts.headers.eta);
    let entry = |facts: &Arc<Facts>| {
        Map::from_iter([
            ("eta", Value::from(facts.headers.eta.map(time::iso))),
            ("priority", PRIORITY.into()),
            ("request", info(consumer, facts, &mut bodies)),
        ])
        .into()
    };
    Ok(Value::List(scheduled.iter().map(entry).collect()))
}

pub(super) fn query_task(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let ids = arguments.take("ids");
    if ids.is_null() {
        return Err(CommandError::Argument("'NoneType' object is not iterable".to_owned()));
    }
    let mut bodies = DECODED;
    let ids = maybe_list(ids);
    let found = ids.iter().filter_map(Value::as_str).filter_map(|id| consumer.requests.find(id));
    let described = found.map(|facts| {
        // Celery knows the last since 5.7.
        let state = match facts.progress.stage() {
            Stage::Active => "active",
            Stage::Reserved => "reserved",
            Stage::Scheduled => "scheduled",
        };
        let info = info(consumer, &facts, &mut bodies);
        (facts.headers.id.clone(), Value::List(vec![state.into(), info]))
    });
    Ok(described.collect::<Map>().into())
}

/// What is told of a request (`celery/worker/request.py`, `info`). The bytes of its body are taken from `bodies`;
/// when they do not suffice, or it cannot be decoded, its arguments are told as their caller printed them.
fn info(consumer: &Consumer, facts: &Facts, bodies: &mut usize) -> Value {
    let headers = &facts.headers;
    let decoded = bodies.checked_sub(facts.body.data.len().max(1)).and_then(|left| {
        *bodies = left;
        facts.body.decode(&consumer.settings.accept).ok()
    });
    let (args, kwargs) = match decoded {
        Some(body) => (Value::List(body.args), Value::Map(body.kwargs)),
        None => {
            let shown = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
            (shown(&headers.argsrepr), shown(&headers.kwargsrepr))
        }
    };
    let started = facts.progress.started();
    let origin = &facts.origin;
    let delivery_info = Map::from_iter([
        ("exchange", Value::from(origin.exchange.as_str())),
        ("routing_key", origin.routing_key.as_str().into()),
        ("priority", facts.properties.priority.map(i32::from).into()),
        ("redelivered", origin.redelivered.into()),
    ]);
    Map::from_iter([
        ("id", Value::from(headers.id.as_str())),
        ("name", headers.name().into()),
        ("args", args),
        ("kwargs", kwargs),
        ("type", headers.task.as_str().into()),
        ("hostname", consumer.hostname().into()),
        ("time_start", started.into()),
        ("acknowledged", facts.progress.acknowledged.load(Ordering::Relaxed).into()),
        ("delivery_info", delivery_info.into()),
        ("worker_pid", facts.progress.pid().into()),
    ])
    .into()
}
