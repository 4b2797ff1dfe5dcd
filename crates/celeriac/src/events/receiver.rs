use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use celeriac_broker::{
    Connection, Error, Event as Arrival, Inbox, Prefetch, Session, Settlement, Subscription, Topology,
};
use celeriac_protocol::Message;
use celeriac_protocol::event::Event;
use celeriac_worker::Backoff;
use celeriac_worker::wall::{exact_utcoffset, now, utcoffset};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::App;

/// Messages, each of one event or some, that may lie here unread.
const PREFETCH: u16 = 100;
/// Events that may wait for [`Receiver::next`].
const WAITING: usize = 1_000;

/// Hears events, whatever becomes of the broker meanwhile (`celery/events/receiver.py`). Made by
/// [`App::events`](crate::App::events).
///
/// It hears what is sent from the first call of [`next`](Self::next) on. Who does not keep up loses the oldest
/// events, which the broker drops after `event_queue_ttl`.
#[derive(Debug)]
#[must_use = "nothing is heard before `next()` is called"]
pub struct Receiver {
    app: App,
    routing_key: String,
    wakeup: bool,
    skipped: Arc<AtomicU64>,
    inbox: Option<mpsc::Receiver<Received>>,
}

/// What a receiver has to tell.
#[derive(Debug)]
pub enum Received {
    /// The connection is there, for the first time or again: what is sent from now on is heard.
    Connected,
    /// An event. Its `timestamp` is shifted by the sender's offset from UTC and ours, as Celery's receiver does, and
    /// its `clock` is never absent.
    Event {
        /// It.
        event: Event,
        /// When it was received, in seconds since 1970.
        at: f64,
    },
    /// The connection was lost or could not be made. The next call tries again, after a while.
    Lost(Error),
}

impl Receiver {
    pub(crate) fn new(app: App) -> Self {
        Receiver { app, routing_key: "#".to_owned(), wakeup: true, skipped: Arc::default(), inbox: None }
    }

    /// Hears only what matches: `task.#`, `worker.heartbeat`. Events of tasks may come many at a time, as
    /// `task.multi`.
    pub fn routing_key(self, pattern: impl Into<String>) -> Self {
        Receiver { routing_key: pattern.into(), ..self }
    }

    /// Whether workers are asked for a heartbeat at the start, so that all are known at once; true by default.
    pub fn wakeup(self, wakeup: bool) -> Self {
        Receiver { wakeup, ..self }
    }

    /// The next event, or the news that the connection is there or lost. May be given up and called again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Received {
        let inbox = self.inbox.get_or_insert_with(|| {
            let (out, inbox) = mpsc::channel(WAITING);
            let id = Uuid::new_v4().to_string();
            let ears = Ears {
                app: self.app.clone(),
                topology: self.app.settings().events.listener(&id, &self.routing_key),
                wakeup: self.wakeup,
                skipped: self.skipped.clone(),
                out,
            };
            tokio::spawn(ears.run());
            inbox
        });
        match inbox.recv().await {
            Some(received) => received,
            // Its task ended with its runtime; another call starts another.
            None => {
                self.inbox = None;
                Received::Lost(Error::Lost("the receiver was stopped".to_owned()))
            }
        }
    }

    /// How many messages, or parts of them, were no events.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }
}

/// What a receiver runs in the background: it ends when nobody listens any more.
struct Ears {
    app: App,
    topology: Topology,
    wakeup: bool,
    skipped: Arc<AtomicU64>,
    out: mpsc::Sender<Received>,
}

impl Ears {
    async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        loop {
            let lost = tokio::select! {
                error = self.listen(&mut backoff) => error,
                () = self.out.closed() => return,
            };
            tracing::debug!("events: {lost}");
            if self.out.send(Received::Lost(lost)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.out.closed() => return,
            }
        }
    }

    /// Hears until the connection is lost, and tells why.
    async fn listen(&self, backoff: &mut Backoff) -> Error {
        let connection = match self.app.transport().connect().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let guard = Closing(connection.clone());
        let (session, inbox) = match self.subscribe(&*connection).await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        backoff.reset();
        // Nobody listens any more; `run` sees it too.
        let _ = self.out.send(Received::Connected).await;
        if self.wakeup
            && let Err(error) = self.app.control().heartbeat().await
        {
            tracing::debug!("workers were not asked for a heartbeat: {error}");
        }
        let lost = self.forward(&*session, inbox).await;
        drop(guard);
        lost
    }

    async fn subscribe(&self, connection: &dyn Connection) -> Result<(Arc<dyn Session>, Inbox), Error> {
        connection.declare(&self.topology).await?;
        let (session, inbox) = connection.open_session(Prefetch::Session(PREFETCH)).await?;
        session.subscribe(&Subscription::new(&self.topology.queues[0].name)).await?;
        Ok((session, inbox))
    }

    async fn forward(&self, session: &dyn Session, mut inbox: Inbox) -> Error {
        let mut heard = 0;
        loop {
            // Acknowledged together, once there is nothing more to read.
            let arrival = match inbox.try_recv() {
                Ok(arrival) => Some(arrival),
                Err(_) if heard > 0 => {
                    if let Err(error) = session.settle(&[Settlement::AckThrough(heard)]).await {
                        return error;
                    }
                    heard = 0;
                    continue;
                }
                Err(_) => inbox.recv().await,
            };
            match arrival {
                Some(Arrival::Delivery(delivery)) => {
                    heard = delivery.tag;
                    self.hear(delivery.message).await;
                }
                Some(Arrival::Lost(error)) => return error,
                Some(Arrival::Cancelled { .. }) | None => {
                    return Error::Lost("the queue of events is gone".to_owned());
                }
            }
        }
    }

    async fn hear(&self, message: Message) {
        let body = match message.decode(&self.app.settings().events.accept) {
            Ok(body) => body,
            Err(error) => return self.skip(&error),
        };
        for event in Event::read_all(body) {
            match event {
                Ok(event) => {
                    // Nobody listens any more; `run` sees it too.
                    if self.out.send(self.received(event)).await.is_err() {
                        return;
                    }
                }
                Err(error) => self.skip(&error),
            }
        }
    }

    fn received(&self, mut event: Event) -> Received {
        event.synchronize(self.app.clock());
        if let Some(offset) = event.utcoffset {
            // Who tells a fraction does not round, and then neither do we.
            let ours = if offset.fract() == 0.0 { utcoffset().into() } else { exact_utcoffset() };
            event.timestamp -= (offset - ours) * 3600.0;
        }
        Received::Event { event, at: now() }
    }

    fn skip(&self, why: &dyn std::fmt::Display) {
        // Whoever sends rubbish sends much of it: the first, then each hundredth, is worth a line.
        let count = self.skipped.fetch_add(1, Relaxed);
        if count.is_multiple_of(100) {
            tracing::warn!("skipped what is no event ({} so far): {why}", count + 1);
        }
    }
}

/// Closes a connection at the end, however it comes.
struct Closing(Arc<dyn Connection>);

impl Drop for Closing {
    fn drop(&mut self) {
        let connection = self.0.clone();
        tokio::spawn(async move { connection.close().await });
    }
}
