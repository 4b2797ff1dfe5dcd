//! What both ways to gossip tell: the log, the program's handlers, and who won an election.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use celeriac_broker::Delivery;
use celeriac_cluster::state::{Drift, Worker as Member};
use celeriac_protocol::{Event, Signature, Value};
use uuid::Uuid;

use super::NodeHandler;
use crate::call::Call;
use crate::consumer::{Consumer, lock};

/// The events of a message; what cannot be understood is counted.
pub(super) fn events(consumer: &Consumer, delivery: &Delivery) -> Vec<Event> {
    let routing_key = &delivery.routing_key;
    let body = match delivery.message.decode(&consumer.settings.events.accept) {
        Ok(body) => body,
        Err(error) => {
            consumer.counters.invalid_events.count();
            tracing::error!("cannot decode an event ({routing_key}): {error}");
            return Vec::new();
        }
    };
    let (mut events, mut wrong) = (Vec::new(), None);
    for event in Event::read_all(body) {
        match event {
            Ok(event) => {
                consumer.chatter.received_event(&event.kind);
                events.push(event);
            }
            Err(error) => {
                consumer.counters.invalid_events.count();
                wrong.get_or_insert(error);
            }
        }
    }
    // One line for a message, however many are wrong in it.
    if let Some(error) = wrong {
        tracing::error!("an event is ignored ({routing_key}): {error}");
    }
    events
}

// A thousand may join at once: what nobody wants to know of them is not made.

pub(super) fn joined<M: Borrow<Member>>(consumer: &Consumer, hostname: &str, member: impl FnOnce() -> M) {
    tracing::debug!("{hostname} joined the party");
    call(&consumer.handlers.node_join, hostname, member);
}

pub(super) fn left<M: Borrow<Member>>(consumer: &Consumer, hostname: &str, member: impl FnOnce() -> M) {
    tracing::debug!("{hostname} left");
    call(&consumer.handlers.node_leave, hostname, member);
}

pub(super) fn lost<M: Borrow<Member>>(consumer: &Consumer, hostname: &str, member: impl FnOnce() -> M) {
    tracing::info!("missed heartbeat from {hostname}");
    call(&consumer.handlers.node_lost, hostname, member);
}

pub(super) fn drifted(drift: &Drift) {
    tracing::warn!(
        "Substantial drift from {} may mean clocks are out of sync.  Current drift is {:.0} seconds.",
        drift.hostname,
        drift.seconds()
    );
}

/// An election is decided; the action of one that was won is carried out while gossip goes on.
pub(super) fn elected(consumer: &Arc<Consumer>, id: &str, leader: &str, action: Option<(String, Value)>) {
    let Some((topic, action)) = action else {
        return tracing::info!("node {leader} elected for '{id}'");
    };
    tracing::info!("I won the election '{id}'");
    let running = consumer.clone();
    let mut won = lock(&consumer.cluster.won);
    while won.try_join_next().is_some() {}
    won.spawn(async move { run(&running, &topic, action).await });
}

pub(super) fn expired(id: &str) {
    tracing::warn!("the election '{id}' was not decided");
}

/// A handler that panics must not end the gossip.
fn call<M: Borrow<Member>>(handlers: &[NodeHandler], hostname: &str, member: impl FnOnce() -> M) {
    if handlers.is_empty() {
        return;
    }
    let member = member();
    for handler in handlers {
        if catch_unwind(AssertUnwindSafe(|| handler(member.borrow()))).is_err() {
            tracing::error!("Ignored a panic of a handler for {hostname}");
        }
    }
}

async fn run(consumer: &Arc<Consumer>, topic: &str, action: Value) {
    if let Some(handler) = consumer.handlers.elected.get(topic) {
        if catch_unwind(AssertUnwindSafe(|| handler(consumer, action))).is_err() {
            tracing::error!("Ignored a panic of the handler for the election topic '{topic}'");
        }
    } else if topic == "task" {
        call_task(consumer, action).await;
    } else {
        tracing::error!("Unknown election topic '{topic}'");
    }
}

/// Sends the task that an election was about.
async fn call_task(consumer: &Consumer, task: Value) {
    let signature = match Signature::from_value(task) {
        Ok(signature) => signature,
        Err(error) => return tracing::error!("Could not call task: {error}"),
    };
    let mut call = Call::from_signature(signature, None);
    let id = call.options.task_id.take().unwrap_or_else(|| Uuid::new_v4().to_string());
    if let Err(error) = consumer.producer.send(id, call).await {
        tracing::error!("Could not call task: {error}");
    }
}
