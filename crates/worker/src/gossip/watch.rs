//! Gossip by watchers: carries out what `celeriac_cluster::watch` decides.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celeriac_broker::{Delivery, Error};
use celeriac_cluster::watch::message::{Beat, Key, Message, NodeId, accept};
use celeriac_cluster::watch::{Action, Config, Input, Time, Watch, WatchError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::ears::{Ears, Heard};
use super::outbox::{self, Outbox, Outcome, Outgoing};
use super::{Election, Kept, Machine, SHORTEST, is_refused, random_node, told};
use crate::consumer::{Consumer, lock};
use crate::listener::Mailbox;
use crate::mingle;
use crate::pidbox::roster_of;
use crate::wall::now;

/// How long the broker may take to show that it lets us publish.
const PROBE: Duration = Duration::from_secs(1);
/// The longest time between two looks, in seconds.
const LONGEST: f64 = 60.0;
/// Seconds between two warnings of one kind about what is ignored.
const QUIET: f64 = 60.0;

/// The broker does not let us use the cluster's exchange.
pub(super) struct Refusal {
    /// What the exchange may not be.
    what: &'static str,
    error: Error,
}

impl Refusal {
    pub(super) fn new(what: &'static str, error: Error) -> Self {
        Refusal { what, error }
    }

    pub(super) fn tell(&self, consumer: &Consumer) {
        let exchange = &consumer.settings.events.cluster().exchanges[0].name;
        let Refusal { what, error } = self;
        tracing::warn!("gossip: the exchange {exchange} may not be {what}: classic gossip instead ({error})");
    }
}

/// An open mailbox on the cluster's exchange.
pub(super) struct Open {
    ears: Ears,
    heard: mpsc::Receiver<Heard>,
    beat: Option<Beat>,
}

/// Opens our mailbox, unless mingle has; then it has seen as well that we may publish.
pub(super) async fn open(consumer: &Arc<Consumer>, streams: bool) -> Result<Result<Open, Refusal>, Error> {
    let kept = lock(&consumer.cluster.kept).take();
    let (mailbox, beat) = match kept {
        Some(Kept { mailbox, beat }) => (mailbox, beat),
        None => match probe(consumer).await? {
            Ok(mailbox) => (mailbox, None),
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let (ears, heard) = Ears::new(consumer, mailbox, streams);
    let mut machine = lock(&consumer.cluster.machine);
    if !matches!(*machine, Some(Machine::Watch(_))) {
        let watch = Watch::new(config(consumer), consumer.clock.clone(), time(consumer));
        *machine = Some(Machine::Watch(Box::new(watch)));
    }
    Ok(Ok(Open { ears, heard, beat }))
}

/// Opens a mailbox, and sees whether we may publish.
async fn probe(consumer: &Consumer) -> Result<Result<Mailbox, Refusal>, Error> {
    let mailbox = match consumer.cluster.open_mailbox(consumer).await {
        Err(error) if is_refused(&error) => return Ok(Err(Refusal::new("declared", error))),
        opened => opened?,
    };
    let exchange = consumer.settings.events.cluster();
    let nobody = random_node();
    let question = Message::Probe { node: nobody };
    // A broker that takes nothing now must not hold up the start.
    match timeout(PROBE, outbox::publish(consumer, &exchange, Key::Node(nobody), &question, true)).await {
        Ok(Err(error)) if is_refused(&error) => {
            mailbox.close().await;
            return Ok(Err(Refusal::new("published to", error)));
        }
        Ok(published) => drop(published?),
        Err(_) => {}
    }
    Ok(Ok(mailbox))
}

fn config(consumer: &Consumer) -> Config {
    let settings = &consumer.settings;
    let heart = lock(&consumer.heart);
    Config {
        hostname: consumer.hostname().to_owned(),
        pid: std::process::id(),
        node: consumer.cluster.node,
        incarnation: heart.incarnation(),
        heartbeat: settings.heartbeat.then(|| heart.interval()),
        watchers: settings.gossip_watchers,
        beat: settings.gossip_beat.as_secs_f64(),
        seed: Uuid::new_v4().as_u64_pair().1,
    }
}

fn time(consumer: &Consumer) -> Time {
    Time { steady: consumer.steady(), wall: now() }
}

/// Gossips until the broker refuses it; nothing is returned when nobody can ask for elections any more, since we go.
pub(super) async fn listen(
    consumer: &Arc<Consumer>,
    open: Open,
    elections: &mut mpsc::Receiver<Election>,
) -> Option<Refusal> {
    let Open { ears, mut heard, beat } = open;
    let (outbox, mut outcomes) = Outbox::open(consumer);
    let greeting = JoinSet::new();
    let mut driver = Driver { consumer: consumer.clone(), ears, outbox, told: HashMap::new(), greeting };
    driver.handle(Input::Connected(beat.as_ref()));
    let refusal = loop {
        let wait = (driver.next_timeout() - consumer.steady()).clamp(SHORTEST, LONGEST);
        tokio::select! {
            // What has come is heard before anything is concluded from silence.
            biased;
            Some(outcome) = outcomes.recv() => match outcome {
                Outcome::Returned => driver.handle(Input::Returned),
                Outcome::Accepted => driver.handle(Input::Accepted),
                Outcome::Unblocked => driver.handle(Input::Unblocked),
                Outcome::Refused(refusal) => break refusal,
            },
            Some(heard) = heard.recv() => match heard {
                Heard::Refused(error) => break Refusal::new("read from", error),
                heard => driver.hear(heard),
            },
            election = elections.recv() => {
                let Some(Election { id, topic, action }) = election else {
                    driver.handle(Input::Leaving);
                    drop(outcomes);
                    driver.outbox.close().await;
                    return None;
                };
                driver.handle(Input::Election { id, topic, action });
            }
            () = tokio::time::sleep(Duration::from_secs_f64(wait)) => driver.handle(Input::Tick),
        }
    };
    consumer.cluster.hears.store(false, Ordering::Relaxed);
    // Nobody reads what comes any more: who hands it on must not wait for that.
    drop(heard);
    driver.ears.close().await;
    Some(refusal)
}

/// The machine's hands.
struct Driver {
    consumer: Arc<Consumer>,
    ears: Ears,
    outbox: Outbox,
    /// When each kind of what is ignored was warned of last.
    told: HashMap<Option<Discriminant<WatchError>>, f64>,
    greeting: JoinSet<()>,
}

impl Driver {
    fn next_timeout(&self) -> f64 {
        match &*lock(&self.consumer.cluster.machine) {
            Some(Machine::Watch(watch)) => watch.next_timeout(),
            _ => f64::MAX,
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Open(ear) if self.ears.is_events(ear) => {
                self.consumer.cluster.hears.store(true, Ordering::Relaxed);
                self.handle(Input::Listening);
            }
            Heard::Delivery(ear, delivery) if self.ears.is_events(ear) => {
                for event in told::events(&self.consumer, &delivery) {
                    self.handle(Input::Event(&event));
                }
            }
            Heard::Delivery(ear, delivery) if self.ears.has(ear) => self.on_delivery(&delivery),
            Heard::Open(_) | Heard::Delivery(..) | Heard::Refused(_) => {}
        }
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        if roster_of(&delivery.message.headers)
            .is_some_and(|(node, term, version)| !self.reads(node, term, version))
        {
            return self.consumer.chatter.received("snapshot");
        }
        let body = delivery.message.decode(&accept()).map_err(|error| error.to_string());
        match body.and_then(|body| Message::read(&body).map_err(|error| error.to_string())) {
            Ok(message) => {
                self.consumer.chatter.received(message.kind());
                self.handle(Input::Message(&message));
            }
            Err(error) => self.ignored(None, &error),
        }
    }

    fn reads(&self, node: NodeId, term: u64, version: u64) -> bool {
        match &*lock(&self.consumer.cluster.machine) {
            Some(Machine::Watch(watch)) => watch.reads(node, term, version),
            _ => false,
        }
    }

    /// Carries out what follows, in order.
    fn handle(&mut self, input: Input<'_>) {
        let consumer = self.consumer.clone();
        let now = time(&consumer);
        let actions = match &mut *lock(&consumer.cluster.machine) {
            Some(Machine::Watch(watch)) => {
                let tells_revokes =
                    matches!(input, Input::Message(Message::Revokes(_) | Message::Delta { .. }));
                consumer.revokes.look_at_ids(tells_revokes, |revoked| watch.handle(input, revoked, now))
            }
            _ => Vec::new(),
        };
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        let consumer = &self.consumer;
        match action {
            Action::Joined(member) => told::joined(consumer, &member.hostname, || member.to_worker(now())),
            Action::Left(member) => told::left(consumer, &member.hostname, || member.to_worker(now())),
            Action::Lost(member) => told::lost(consumer, &member.hostname, || member.to_worker(now())),
            Action::Drifted(drift) => told::drifted(&drift),
            Action::Twins(hostname) => {
                tracing::warn!(
                    "gossip: there are two workers named {hostname}, of which the newer one counts"
                );
            }
            Action::Crowded { limit } => {
                tracing::warn!("gossip: there are more than {limit} workers: further ones are not known");
            }
            Action::Follows { lead, term } if *lead == *consumer.hostname() => {
                tracing::info!("gossip: leading (term {term})");
            }
            Action::Follows { lead, term } => tracing::info!("gossip: following {lead} (term {term})"),
            Action::Listen(wanted) => self.ears.listen(wanted),
            Action::Greet => {
                if consumer.settings.mingle {
                    self.greeting.spawn(mingle::greet(consumer.clone()));
                }
            }
            Action::Send { key, message, mandatory } => {
                self.outbox.send(Outgoing::Message { key, message, mandatory });
            }
            Action::Publish { hostname, pid, clock, kind, fields } => {
                self.outbox.send(Outgoing::Event { hostname, pid, clock, kind, fields });
            }
            Action::Announce => self.outbox.send(Outgoing::Announce),
            Action::Elected { id, leader, run } => told::elected(consumer, &id, &leader, run),
            Action::Expired(id) => told::expired(&id),
            Action::Ignored(error) => self.ignored(Some(&error), &error.to_string()),
        }
    }

    /// Counts what was ignored, and warns of each kind now and then. That something is over is no wonder while the lead
    /// changes.
    fn ignored(&mut self, kind: Option<&WatchError>, error: &str) {
        self.consumer.counters.ignored_cluster.count();
        let now = self.consumer.steady();
        let told = self.told.get(&kind.map(discriminant));
        if matches!(kind, Some(WatchError::Stale(_))) || told.is_some_and(|told| now - told < QUIET) {
            return tracing::debug!("gossip: ignored {error}");
        }
        self.told.insert(kind.map(discriminant), now);
        tracing::warn!("gossip: ignored {error}");
    }
}
