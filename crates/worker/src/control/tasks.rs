//! What is known of the tasks, and their limits.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::{Value, repr};

use super::arguments::{Arguments, cut, maybe_list, wrong};
use super::command::{CommandError, nok, ok};
use crate::consumer::Consumer;
use crate::served::Served;
use crate::task::Rate;
use crate::tasks::Change;

/// What is listed of a task unless more is asked for (`DEFAULT_TASK_INFO_ITEMS`).
const INFO_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];
/// How many attributes may be asked for.
const FIELDS: usize = 100;

pub(super) fn registered(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let mut fields: Vec<String> = Vec::new();
    for field in maybe_list(arguments.take("taskinfoitems")).into_iter().take(FIELDS) {
        match field {
            Value::String(field) if fields.contains(&field) => {}
            Value::String(field) => fields.push(field),
            other => return Err(wrong("an attribute's name", "str", &other)),
        }
    }
    if fields.is_empty() {
        fields = INFO_ITEMS.map(str::to_owned).to_vec();
    }
    let builtins = arguments.flag("builtins");
    let mut tasks: Vec<_> = consumer.tasks.values().collect();
    tasks.retain(|task| builtins || !task.name.starts_with("celery."));
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Value::List(tasks.into_iter().map(|task| describe(task, &fields).into()).collect()))
}

fn describe(task: &Served, fields: &[String]) -> String {
    let known = fields.iter().filter_map(|field| {
        let value = attribute(task, field)?;
        Some(format!("{field}={}", text(&value)))
    });
    let known: Vec<_> = known.collect();
    if known.is_empty() { task.name.clone() } else { format!("{} [{}]", task.name, known.join(" ")) }
}

/// Python's `str`.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| repr::value(value), str::to_owned)
}

/// An attribute of a task as Celery names it; absent where it is `None`.
fn attribute(task: &Served, name: &str) -> Option<Value> {
    let (limits, options) = (task.limits(), &task.task.options);
    match name {
        "name" => Some(task.name.as_str().into()),
        "rate_limit" => limits.rate.map(|rate| rate.as_str().into()),
        "time_limit" => limits.time.map(seconds),
        "soft_time_limit" => limits.soft_time.map(seconds),
        "acks_late" => options.acks_late.map(Value::from),
        "acks_on_failure_or_timeout" => options.acks_on_failure_or_timeout.map(Value::from),
        "max_retries" => options.max_retries.map(Value::from),
        "default_retry_delay" => Some(seconds(options.default_retry_delay)),
        "retry_backoff" => options.retry_backoff.map(seconds),
        "retry_backoff_max" => Some(seconds(options.retry_backoff_max)),
        "retry_jitter" => Some(options.retry_jitter.into()),
        "ignore_result" => options.ignore_result.map(Value::from),
        "store_errors_even_if_ignored" => options.store_errors_even_if_ignored.map(Value::from),
        "track_started" => options.track_started.map(Value::from),
        "send_events" => Some(options.send_events.into()),
        "queue" => options.queue.as_deref().map(Value::from),
        "priority" => options.priority.map(|priority| i32::from(priority).into()),
        "expires" => options.expires.map(seconds),
        "serializer" => options.serializer.as_deref().map(Value::from),
        "compression" => options.compression.as_deref().map(Value::from),
        _ => None,
    }
}

/// Seconds, whole where they are.
pub(super) fn seconds(time: Duration) -> Value {
    if time.subsec_nanos() == 0 { time.as_secs().into() } else { time.as_secs_f64().into() }
}

pub(super) fn rate_limit(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let limit = arguments.take("rate_limit");
    let is_on = limit.is_true();
    let limit = match &limit {
        _ if !is_on => String::new(),
        Value::String(limit) => limit.clone(),
        Value::Int(_) | Value::Float(_) => repr::value(&limit),
        other => return Err(wrong("rate_limit", "str", other)),
    };
    let rate = match Rate::parse(&limit) {
        Ok(rate) => rate,
        Err(error) => {
            let error = CommandError::Value(cut(&error.to_string()).to_owned());
            return nok(format!("Invalid rate limit string: {error}"));
        }
    };
    let Some(task) = task(consumer, &arguments.take("task_name"), "Rate limit") else {
        return nok("unknown task");
    };
    task.change_limits(|limits| limits.rate = rate);
    consumer.change(Change::RateLimit(task.name.clone()));
    if !is_on {
        tracing::info!("Rate limits disabled for tasks of type {}", task.name);
        return ok("rate limit disabled successfully");
    }
    tracing::info!("New rate limit for tasks of type {}: {limit}.", task.name);
    ok("new rate limit set successfully")
}

pub(super) fn time_limit(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let Some(task) = task(consumer, &arguments.take("task_name"), "Change time limit") else {
        return nok("unknown task");
    };
    let (hard, soft) = (arguments.take("hard"), arguments.take("soft"));
    let (time, soft_time) = (duration("hard", &hard)?, duration("soft", &soft)?);
    let settings = &consumer.settings;
    // A task without a limit of its own has the worker's (`celery/worker/request.py`, `execute_using_pool`).
    task.change_limits(|limits| {
        limits.time = time.or(settings.task_time_limit);
        limits.soft_time = soft_time.or(settings.task_soft_time_limit);
    });
    tracing::info!(
        "New time limits for tasks of type {}: soft={} hard={}",
        task.name,
        repr::value(&soft),
        repr::value(&hard)
    );
    ok("time limits set successfully")
}

fn task<'a>(consumer: &'a Consumer, name: &Value, what: &str) -> Option<&'a Arc<Served>> {
    let task = name.as_str().and_then(|name| consumer.tasks.get(name));
    if task.is_none() {
        tracing::error!("{what} attempt for unknown task {}", cut(&text(name)));
    }
    task
}

/// Seconds; nothing and 0 are no limit.
fn duration(name: &str, value: &Value) -> Result<Option<Duration>, CommandError> {
    if value.is_null() {
        return Ok(None);
    }
    let seconds = value.as_f64().ok_or_else(|| wrong(name, "float", value))?;
    let limit = Duration::try_from_secs_f64(seconds)
        .map_err(|_| CommandError::Value(format!("{name} is no time limit: {seconds}")))?;
    Ok(Some(limit).filter(|limit| !limit.is_zero()))
}
