//! What a worker that gossips by watchers publishes, while its machine goes on: it leaves in order, but for what must
//! not be returned, of which one is under way at a time. Of others there are many, since a lead that waited for each could
//! not serve a thousand that start together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_broker::{Address, Error, Published, Topology};
use celeriac_cluster::heart::Input;
use celeriac_cluster::watch::message::{Key, Message, NodeId, Snapshot};
use celeriac_protocol::{Map, Message as Encoded};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{is_refused, watch::Refusal};
use crate::consumer::{Consumer, lock};
use crate::heart;

/// How many wait for the broker at most; what comes past that is dropped.
const WAITING: usize = 4096;
/// How many are under way to the broker at once.
const AT_ONCE: usize = 64;
/// A broker that takes longer for a message, and has taken no other meanwhile, took nothing for a while.
const LATE: Duration = Duration::from_secs(1);
/// How long a beat may wait: one that comes later would tell of a lead that may be gone.
const STALE: Duration = Duration::from_secs(4);

/// What is to be published.
pub(super) enum Outgoing {
    /// A message of the cluster's exchange.
    Message { key: Key, message: Arc<Message>, mandatory: bool },
    /// An event, perhaps in another worker's name.
    Event { hostname: Arc<str>, pid: Option<i64>, clock: Option<u64>, kind: &'static str, fields: Map },
    /// That we are online.
    Announce,
}

/// What the machine is to know of it.
pub(super) enum Outcome {
    /// Nobody has the key of a message that was mandatory.
    Returned,
    /// Somebody has it.
    Accepted,
    /// The broker takes messages again.
    Unblocked,
    /// We may not publish on the cluster's exchange.
    Refused(Refusal),
}

/// The roster that was told last, as it travels: many may ask for the same.
type Roster = Mutex<Option<((NodeId, u64, u64), Encoded)>>;

/// Publishes until it is dropped.
pub(super) struct Outbox {
    consumer: Arc<Consumer>,
    outgoing: mpsc::Sender<(Instant, Outgoing)>,
    task: JoinSet<()>,
}

impl Outbox {
    pub(super) fn open(consumer: &Arc<Consumer>) -> (Self, mpsc::Receiver<Outcome>) {
        let (outgoing, receiver) = mpsc::channel(WAITING);
        let (outcomes, results) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(run(consumer.clone(), receiver, outcomes));
        (Outbox { consumer: consumer.clone(), outgoing, task }, results)
    }

    /// Returns when all is published.
    pub(super) async fn close(self) {
        let Outbox { outgoing, mut task, .. } = self;
        drop(outgoing);
        task.join_next().await;
    }

    pub(super) fn send(&self, outgoing: Outgoing) {
        if self.outgoing.try_send((Instant::now(), outgoing)).is_err() {
            drop_one(&self.consumer);
        }
    }
}

/// What is missed by it is asked for by those who miss it.
fn drop_one(consumer: &Consumer) {
    if consumer.counters.cluster_dropped.value() == 0 {
        tracing::warn!(
            "gossip: the broker takes too little: some of what the cluster is to be told is dropped"
        );
    }
    consumer.counters.cluster_dropped.count();
}

async fn run(
    consumer: Arc<Consumer>,
    mut outgoing: mpsc::Receiver<(Instant, Outgoing)>,
    outcomes: mpsc::Sender<Outcome>,
) {
    let exchange = consumer.settings.events.cluster();
    let (beats, roster) = (AtomicBool::new(false), Roster::default());
    let mut under_way = FuturesUnordered::new();
    let mut taken = Instant::now();
    loop {
        tokio::select! {
            // What was taken before has begun before more is: so all leave in their order.
            biased;
            Some((began, outcome)) = under_way.next() => {
                let unblocked = (taken.max(began).elapsed() > LATE).then_some(Outcome::Unblocked);
                taken = Instant::now();
                for outcome in [outcome, unblocked].into_iter().flatten() {
                    let _ = outcomes.send(outcome).await;
                }
            }
            next = outgoing.recv(), if under_way.len() < AT_ONCE => {
                let Some((since, next)) = next else { break };
                let is_beat = matches!(next, Outgoing::Message { key: Key::Beat, .. });
                // A broker that takes nothing must not be left with many beats, which it would tell late.
                if is_beat && beats.swap(true, Ordering::Relaxed) {
                    drop_one(&consumer);
                    continue;
                }
                let (consumer, exchange, roster, beats) = (&consumer, &exchange, &roster, &beats);
                under_way.push(async move {
                    let began = Instant::now();
                    let outcome = send(consumer, exchange, roster, since, next).await;
                    if is_beat {
                        beats.store(false, Ordering::Relaxed);
                    }
                    (began, outcome)
                });
            }
        }
    }
    while under_way.next().await.is_some() {}
}

/// Publishes one, and returns what the machine is to know.
async fn send(
    consumer: &Arc<Consumer>,
    exchange: &Topology,
    roster: &Roster,
    since: Instant,
    next: Outgoing,
) -> Option<Outcome> {
    match next {
        Outgoing::Message { message, .. } if is_late(&message, since) => {
            drop_one(consumer);
            None
        }
        Outgoing::Message { key, message, mandatory } => {
            let published = match encode_once(consumer, &message, roster) {
                Ok(encoded) => {
                    publish_encoded(consumer, exchange, key, message.kind(), encoded, mandatory).await
                }
                Err(error) => Err(error),
            };
            match published {
                Ok(Published::Returned) if mandatory => Some(Outcome::Returned),
                Ok(Published::Accepted) if mandatory => Some(Outcome::Accepted),
                Ok(_) => None,
                Err(error) if is_refused(&error) => {
                    Some(Outcome::Refused(Refusal::new("published to", error)))
                }
                Err(error) => {
                    tracing::debug!("gossip: a {} could not be sent: {error}", message.kind());
                    None
                }
            }
        }
        Outgoing::Event { hostname, pid, clock, kind, fields } => {
            let sent = consumer.events().publish_as(&hostname, pid, clock, kind, fields).await;
            if let Err(error) = sent {
                tracing::warn!("cannot send {kind}: {error}");
            }
            None
        }
        Outgoing::Announce => {
            announce(consumer).await;
            None
        }
    }
}

fn is_late(message: &Message, since: Instant) -> bool {
    matches!(message, Message::Beat(_)) && since.elapsed() > STALE
}

/// Publishes a message on the cluster's exchange.
pub(crate) async fn publish(
    consumer: &Consumer,
    exchange: &Topology,
    key: Key,
    message: &Message,
    mandatory: bool,
) -> Result<Published, Error> {
    publish_encoded(consumer, exchange, key, message.kind(), encode(consumer, message)?, mandatory).await
}

async fn publish_encoded(
    consumer: &Consumer,
    exchange: &Topology,
    key: Key,
    kind: &'static str,
    message: Encoded,
    mandatory: bool,
) -> Result<Published, Error> {
    let address = Address { mandatory, ..Address::exchange(&exchange.exchanges[0].name, key.to_string()) };
    let published = consumer.producer.line().publish_to(exchange, &address, message).await;
    if published.is_ok() {
        consumer.chatter.sent(kind);
    }
    published
}

fn encode(consumer: &Consumer, message: &Message) -> Result<Encoded, Error> {
    let encoded = consumer.settings.events.cluster_message(message);
    encoded.map_err(|error| Error::NotAccepted(error.to_string()))
}

fn encode_once(consumer: &Consumer, message: &Message, roster: &Roster) -> Result<Encoded, Error> {
    let Message::Snapshot(Snapshot { node, term, version, .. }) = message else {
        return encode(consumer, message);
    };
    let mut last = lock(roster);
    if let Some((_, encoded)) = last.as_ref().filter(|(which, _)| *which == (*node, *term, *version)) {
        return Ok(encoded.clone());
    }
    let encoded = encode(consumer, message)?;
    *last = Some(((*node, *term, *version), encoded.clone()));
    Ok(encoded)
}

/// Says that we are online, unless we have not said so yet, or are about to go.
async fn announce(consumer: &Consumer) {
    if lock(&consumer.heart).next_timeout().is_some() {
        heart::send(consumer, Input::Start).await;
    }
}
