//! The signals of Celery's main process, for receivers in the app.
//!
//! They are sent one after the other to the service, in the order in which things happen. Who tells of something waits
//! while too many are on their way: a slow receiver slows down the worker, as it would Celery's.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::codec::Accept;
use celeriac_protocol::{Map, Message, Value};
use celeriac_worker::{Facts, Observer, Origin};
use tokio::sync::{mpsc, oneshot};

use crate::host::{About, Call};
use crate::pool::Home;
use crate::pool::request::Packed;

/// How many wait to be sent.
const WAITING: usize = 256;

/// Those that this sends; the service sends `task_revoked` and `task_unknown` by itself.
const SENT: [&str; 6] = [
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
    "heartbeat_sent",
    "task_received",
    "task_rejected",
];

/// Sends the signals that have receivers.
pub struct Signals {
    heard: HashSet<&'static str>,
    hostname: String,
    accept: Accept,
    waiting: mpsc::Sender<Item>,
}

enum Item {
    Signal {
        name: &'static str,
        arguments: Map,
        about: Subject,
    },
    /// All before it have been received.
    Settled(oneshot::Sender<()>),
}

enum Subject {
    Nothing,
    Task(Packed),
    Message(Packed),
}

impl Signals {
    /// For an app that has receivers of `receivers`; none where this sends none of them. Needs a runtime.
    pub fn new(
        receivers: &HashSet<String>,
        home: Arc<Home>,
        hostname: &str,
        accept: &Accept,
    ) -> Option<Arc<Self>> {
        let heard: HashSet<_> = SENT.into_iter().filter(|name| receivers.contains(*name)).collect();
        if heard.is_empty() {
            return None;
        }
        let (waiting, items) = mpsc::channel(WAITING);
        tokio::spawn(send(home, items));
        Some(Arc::new(Signals { heard, hostname: hostname.to_owned(), accept: accept.clone(), waiting }))
    }

    /// The worker was told to end: the signal's name, `Warm` or `Cold`, and the exit code.
    pub fn shutting_down(&self, signal: &str, how: &str, code: u8) {
        let name = "worker_shutting_down";
        if !self.heard.contains(name) {
            return;
        }
        let arguments = Map::from_iter([
            ("sig", Value::from(signal)),
            ("how", how.into()),
            ("exitcode", i64::from(code).into()),
        ]);
        let item = Item::Signal { name, arguments, about: Subject::Nothing };
        if self.waiting.try_send(item).is_err() {
            tracing::warn!("The receivers are too slow to hear of {name}");
        }
    }

    /// The worker has ended in order.
    pub async fn shut_down(&self) {
        self.tell("worker_shutdown", Map::new(), Subject::Nothing).await;
    }

    /// Returns when everything sent before has been received.
    pub async fn settled(&self) {
        let (settled, all) = oneshot::channel();
        // Neither fails while the runtime lives.
        let _ = self.waiting.send(Item::Settled(settled)).await;
        let _ = all.await;
    }

    async fn tell(&self, name: &'static str, arguments: Map, about: Subject) {
        if self.heard.contains(name) {
            let _ = self.waiting.send(Item::Signal { name, arguments, about }).await;
        }
    }
}

#[async_trait]
impl Observer for Signals {
    async fn ready(&self) {
        self.tell("worker_ready", Map::new(), Subject::Nothing).await;
    }

    async fn heartbeat(&self) {
        self.tell("heartbeat_sent", Map::new(), Subject::Nothing).await;
    }

    async fn received(&self, facts: &Facts) {
        let name = "task_received";
        if !self.heard.contains(name) {
            return;
        }
        match Packed::new(facts, &self.hostname, &self.accept) {
            Ok(packed) => self.tell(name, Map::new(), Subject::Task(packed)).await,
            // It fails for the same reason.
            Err(error) => tracing::debug!("no {name} for {}: {error}", facts.label()),
        }
    }

    fn minds_rejected(&self) -> bool {
        self.heard.contains("task_rejected")
    }

    async fn rejected(&self, message: Message, origin: &Origin, reason: Option<String>) {
        let name = "task_rejected";
        let exc = Map::from_iter([("exc", Value::from(reason))]);
        match Packed::raw(&message, origin, &self.hostname, &self.accept) {
            Ok(packed) => self.tell(name, exc, Subject::Message(packed)).await,
            // Celery sends none of what it cannot decode.
            Err(error) => tracing::debug!("no {name}: {error}"),
        }
    }
}

async fn send(home: Arc<Home>, mut items: mpsc::Receiver<Item>) {
    while let Some(item) = items.recv().await {
        let sent = match &item {
            Item::Signal { name, arguments, about } => {
                let call = about.call();
                let about = match about {
                    Subject::Nothing => None,
                    Subject::Task(_) => call.as_ref().map(About::Task),
                    Subject::Message(_) => call.as_ref().map(About::Message),
                };
                home.signal(name, arguments, about).await
            }
            Item::Settled(_) => home.settled().await,
        };
        match (sent, item) {
            (Err(error), Item::Signal { name, .. }) => {
                tracing::error!("The receivers of {name} are not reached: {error}");
            }
            (_, Item::Settled(settled)) => drop(settled.send(())),
            (Ok(()), Item::Signal { .. }) => {}
        }
    }
}

impl Subject {
    fn call(&self) -> Option<Call<'_>> {
        match self {
            Subject::Nothing => None,
            Subject::Task(packed) | Subject::Message(packed) => Some(packed.call()),
        }
    }
}
