//! Events and elections on demand.

use std::sync::Arc;
use std::time::Duration;

use celeriac_cluster::heart::Input;
use celeriac_protocol::Value;

use super::arguments::Arguments;
use super::command::{CommandError, ok};
use crate::consumer::{Consumer, lock};
use crate::heart::send;

/// How long a heartbeat may take to leave.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn enable_events(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let enabled = consumer.events().enable("task");
    if !consumer.events().wants_tasks() {
        return Err(CommandError::Value("this worker was started without events".to_owned()));
    }
    if !enabled {
        return ok("task events already enabled");
    }
    tracing::info!("Events of group {{task}} enabled by remote.");
    ok("task events enabled")
}

pub(super) fn disable_events(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    if !consumer.events().disable("task") {
        return ok("task events already disabled");
    }
    tracing::info!("Events of group {{task}} disabled by remote.");
    ok("task events disabled")
}

pub(super) async fn heartbeat(consumer: Arc<Consumer>) -> Result<Value, CommandError> {
    tracing::debug!("Heartbeat requested by remote.");
    // Who has not said yet that it is there has not found its place among the others either.
    if consumer.settings.heartbeat && lock(&consumer.heart).next_timeout().is_none() {
        return Ok(Value::Null);
    }
    if tokio::time::timeout(PATIENCE, send(&consumer, Input::Asked)).await.is_err() {
        tracing::debug!("a heartbeat could not be sent within {PATIENCE:?}");
    }
    Ok(Value::Null)
}

pub(super) fn election(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let (id, topic) = (arguments.text("id")?, arguments.text("topic")?);
    if consumer.settings.gossip && !consumer.cluster.election(id, topic, arguments.take("action")) {
        return Err(CommandError::Value(
            "too many elections wait, or nobody listens to the others now".to_owned(),
        ));
    }
    Ok(Value::Null)
}
