//! By which queues a worker that gossips by watchers hears: its own mailbox, and what the machine asks for besides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celeriac_broker::{Delivery, Error, Offset, Subscription, Topology};
use celeriac_cluster::watch::Ears as Wanted;
use celeriac_cluster::watch::message::Key;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::is_refused;
use crate::consumer::Consumer;
use crate::listener::Mailbox;

/// How many messages wait between the queues and the machine.
const WAITING: usize = 64;
/// How much of a stream is read again by one who begins to watch.
const REPLAY: Duration = Duration::from_secs(10);

/// What the ears tell.
#[allow(clippy::large_enum_variant, reason = "nearly all are deliveries")]
pub(super) enum Heard {
    /// A message has come; of the ear of this number.
    Delivery(u64, Delivery),
    /// The ear of this number hears from now on.
    Open(u64),
    /// The broker does not let us have an ear.
    Refused(Error),
}

/// The queues that are consumed; when this is dropped they are no more, at the latest with their connection.
pub(super) struct Ears {
    consumer: Arc<Consumer>,
    streams: bool,
    heard: mpsc::Sender<Heard>,
    own: Ear,
    events: Option<Ear>,
    watchers: Option<Ear>,
    lead: Option<Ear>,
    tasks: JoinSet<()>,
    last: u64,
}

/// A queue that is consumed until this is dropped. It has a name of its own each time, since the one before may not be gone
/// yet.
struct Ear {
    number: u64,
    _open: oneshot::Sender<()>,
}

impl Ears {
    /// Listens to our own mailbox.
    pub(super) fn new(
        consumer: &Arc<Consumer>,
        mailbox: Mailbox,
        streams: bool,
    ) -> (Self, mpsc::Receiver<Heard>) {
        let (heard, receiver) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let (open, closed) = oneshot::channel();
        tasks.spawn(attend(mailbox, 0, heard.clone(), closed));
        let ears = Ears {
            consumer: consumer.clone(),
            streams,
            heard,
            own: Ear { number: 0, _open: open },
            events: None,
            watchers: None,
            lead: None,
            tasks,
            last: 0,
        };
        (ears, receiver)
    }

    /// Hears by these queues from now on, and by no others beside our own.
    pub(super) fn listen(&mut self, wanted: Wanted) {
        while self.tasks.try_join_next().is_some() {}
        if wanted.events != self.events.is_some() {
            self.consumer.cluster.hears.store(false, Ordering::Relaxed);
            self.events = wanted.events.then(|| self.begin(None));
        }
        if wanted.watchers != self.watchers.is_some() {
            self.watchers = wanted.watchers.then(|| self.begin(Some(Key::Watchers)));
        }
        if wanted.lead != self.lead.is_some() {
            self.lead = wanted.lead.then(|| self.begin(Some(Key::Lead)));
        }
    }

    /// Closes all, and waits until they are.
    pub(super) async fn close(self) {
        let Ears { mut tasks, own, events, watchers, lead, .. } = self;
        drop((own, events, watchers, lead));
        while tasks.join_next().await.is_some() {}
    }

    /// Whether the ear of this number is still wanted.
    pub(super) fn has(&self, number: u64) -> bool {
        let others = [&self.events, &self.watchers, &self.lead];
        self.own.number == number || others.into_iter().flatten().any(|ear| ear.number == number)
    }

    /// Whether the events of all workers come by the ear of this number.
    pub(super) fn is_events(&self, number: u64) -> bool {
        self.events.as_ref().is_some_and(|ear| ear.number == number)
    }

    /// Opens an ear for a key, or for the events of all workers, while the machine goes on.
    fn begin(&mut self, key: Option<Key>) -> Ear {
        self.last += 1;
        let (open, mut closed) = oneshot::channel();
        let (number, streams) = (self.last, self.streams);
        let (consumer, heard) = (self.consumer.clone(), self.heard.clone());
        self.tasks.spawn(async move {
            let losses = consumer.losses();
            let opened = match key {
                Some(key) => listen_for(&consumer, key).await,
                None => listen_to_events(&consumer, streams).await,
            };
            let mailbox = match opened {
                Ok(mailbox) => mailbox,
                Err(error) if is_refused(&error) => {
                    let _ = heard.send(Heard::Refused(error)).await;
                    return;
                }
                Err(error) => return losses.tell(error),
            };
            // It may have been told to close meanwhile.
            if closed.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
                return mailbox.close().await;
            }
            if heard.send(Heard::Open(number)).await.is_ok() {
                attend(mailbox, number, heard, closed).await;
            }
        });
        Ear { number, _open: open }
    }
}

async fn listen_for(consumer: &Consumer, key: Key) -> Result<Mailbox, Error> {
    let topology = consumer.settings.events.cluster_box(&Uuid::new_v4().to_string(), &[key]);
    consumer.listen(&topology, &topology.queues[0].name).await
}

async fn listen_to_events(consumer: &Consumer, streams: bool) -> Result<Mailbox, Error> {
    let events = &consumer.settings.events;
    if streams {
        match listen_to_stream(consumer, &events.heartbeat_stream()).await {
            Err(error) if is_refused(&error) => {
                tracing::warn!("gossip: the stream of heartbeats cannot be used: a queue instead ({error})");
            }
            opened => return opened,
        }
    }
    let topology = events.heartbeats(&Uuid::new_v4().to_string());
    consumer.listen(&topology, &topology.queues[0].name).await
}

async fn listen_to_stream(consumer: &Consumer, topology: &Topology) -> Result<Mailbox, Error> {
    let subscription =
        Subscription { offset: Some(Offset::Ago(REPLAY)), ..Subscription::new(&topology.queues[0].name) };
    consumer.listen_as(topology, subscription).await
}

/// Hands on what comes until it is told to close.
async fn attend(
    mut mailbox: Mailbox,
    number: u64,
    heard: mpsc::Sender<Heard>,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut closed => return mailbox.close().await,
            delivery = mailbox.recv() => {
                let Some(delivery) = delivery else { return };
                let tag = delivery.tag;
                if heard.send(Heard::Delivery(number, delivery)).await.is_err() {
                    return mailbox.close().await;
                }
                if mailbox.done_soon(tag).await.is_err() {
                    return;
                }
            }
        }
    }
}
