//! What a worker looks at in a task.

use std::time::Duration;

use celeriac_worker::{Rate, TaskOptions};

use super::{Fields, ReportError};

/// The options of a task, as Celery has resolved them from its class and the settings.
pub(super) fn options(task: &Fields<'_>) -> Result<TaskOptions, ReportError> {
    let defaults = TaskOptions::default();
    Ok(TaskOptions {
        acks_late: task.optional_truth("acks_late"),
        acks_on_failure_or_timeout: task.optional_truth("acks_on_failure_or_timeout"),
        max_retries: task.number("max_retries")?,
        default_retry_delay: task.seconds("default_retry_delay")?.unwrap_or(defaults.default_retry_delay),
        ignore_result: task.optional_truth("ignore_result"),
        store_errors_even_if_ignored: task.optional_truth("store_errors_even_if_ignored"),
        track_started: task.optional_truth("track_started"),
        time_limit: limit(task, "time_limit")?,
        soft_time_limit: limit(task, "soft_time_limit")?,
        rate_limit: rate(task, "rate_limit")?,
        send_events: task.optional_truth("send_events").unwrap_or(true),
        priority: task.number("priority")?,
        serializer: task.text("serializer"),
        ..defaults
    })
}

/// A time limit; zero is none, as in Celery.
pub(super) fn limit(fields: &Fields<'_>, name: &str) -> Result<Option<Duration>, ReportError> {
    Ok(fields.seconds(name)?.filter(|limit| !limit.is_zero()))
}

/// `10/m`, or a number of starts a second.
pub(super) fn rate(fields: &Fields<'_>, name: &str) -> Result<Option<Rate>, ReportError> {
    let value = fields.value(name);
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_true() => value.as_f64().map_or_else(String::new, |number| number.to_string()),
        None => return Ok(None),
    };
    Rate::parse(&text).map_err(|error| fields.wrong(name, error))
}
