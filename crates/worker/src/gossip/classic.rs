//! Gossip as Celery's workers do it: each hears all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celeriac_broker::Error;
use celeriac_cluster::gossip::{Action, Config, Gossip as Classic, Input};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Election, Machine, PATIENCE, SHORTEST, told};
use crate::consumer::{Consumer, lock};
use crate::listener::Mailbox;
use crate::wall::now;

/// Listens to the events of all workers.
pub(super) async fn open(consumer: &Arc<Consumer>) -> Result<Mailbox, Error> {
    let settings = &consumer.settings;
    let config = Config {
        interval: settings.gossip_interval.as_secs_f64(),
        heartbeat_interval: settings.gossip_heartbeat_interval.as_secs_f64(),
        ..Config::new(consumer.hostname(), std::process::id())
    };
    let mut topology = settings.events.listener(&Uuid::new_v4().to_string(), "worker.#");
    // What was not fetched before the next heartbeat is old news.
    topology.queues[0].message_ttl = Some(Duration::from_secs_f64(config.heartbeat_interval));
    let mailbox = consumer.listen(&topology, &topology.queues[0].name).await?;
    consumer.cluster.hears.store(true, Ordering::Relaxed);
    match &mut *lock(&consumer.cluster.machine) {
        Some(Machine::Classic(machine)) => machine.resume(now()),
        machine => {
            let classic = Classic::new(config, consumer.clock.clone(), now());
            *machine = Some(Machine::Classic(Box::new(classic)));
        }
    }
    Ok(mailbox)
}

pub(super) async fn listen(
    consumer: Arc<Consumer>,
    mut mailbox: Mailbox,
    mut elections: mpsc::Receiver<Election>,
) {
    loop {
        let due = machine(&consumer, |machine| machine.next_timeout()).flatten().unwrap_or(f64::MAX);
        // The wall clock may jump: look again soon.
        let wait = Duration::from_secs_f64((due - now()).clamp(SHORTEST, 5.0));
        tokio::select! {
            delivery = mailbox.recv() => {
                let Some(delivery) = delivery else { return };
                for event in told::events(&consumer, &delivery) {
                    let input = Input::Event { routing_key: &delivery.routing_key, event: &event };
                    handle(&consumer, input).await;
                }
                if mailbox.done(delivery.tag).await.is_err() {
                    return;
                }
            }
            election = elections.recv() => {
                let Some(Election { id, topic, action }) = election else { return };
                handle(&consumer, Input::Election { id, topic, action }).await;
            }
            () = tokio::time::sleep(wait) => handle(&consumer, Input::Tick).await,
        }
    }
}

fn machine<T>(consumer: &Consumer, act: impl FnOnce(&mut Classic) -> T) -> Option<T> {
    match &mut *lock(&consumer.cluster.machine) {
        Some(Machine::Classic(machine)) => Some(act(machine)),
        _ => None,
    }
}

/// Carries out what follows, in order: elections rely on it.
async fn handle(consumer: &Arc<Consumer>, input: Input<'_>) {
    let actions = machine(consumer, |machine| machine.handle(input, now()));
    for action in actions.into_iter().flatten() {
        carry_out(consumer, action).await;
    }
}

async fn carry_out(consumer: &Arc<Consumer>, action: Action) {
    match action {
        Action::Joined(member) => told::joined(consumer, &member.hostname, || &*member),
        Action::Left(member) => told::left(consumer, &member.hostname, || &*member),
        Action::Lost(member) => told::lost(consumer, &member.hostname, || &*member),
        Action::Drifted(drift) => told::drifted(&drift),
        Action::Crowded { limit } => {
            tracing::warn!("there are more than {limit} workers: those heard longest ago are forgotten");
        }
        Action::Publish { kind, fields } => {
            let sent = tokio::time::timeout(PATIENCE, consumer.events().publish(kind, fields)).await;
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("cannot send {kind}: {error}"),
                Err(_) => tracing::warn!("cannot send {kind} within {PATIENCE:?}"),
            }
        }
        Action::Elected { id, leader, run } => told::elected(consumer, &id, &leader, run),
        Action::Expired(id) => told::expired(&id),
        Action::Refused(error) => {
            consumer.counters.invalid_events.count();
            tracing::error!("{error}");
        }
    }
}
