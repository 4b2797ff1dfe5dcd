//! The step that syncs with the neighbours before tasks are taken (`celery/worker/consumer/mingle.py`); what is
//! told and taken over is `celeriac_cluster::mingle`'s. A worker that gossips by watchers asks these first, and others
//! only when there are some that the watchers do not speak for.

mod watchers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Address, Error, Published};
use celeriac_cluster::mingle::{self, Synced};
use celeriac_protocol::control::{self, ReplyTo, Request};
use celeriac_protocol::{Map, Message, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use self::watchers::Found;
use crate::blueprint::{Include, Step};
use crate::consumer::Consumer;
use crate::listener::Mailbox;
use crate::settings::GossipMode;
use crate::wall::now;

/// How long neighbours have to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How much longer an answer is still taken over, by a worker that has started meanwhile.
const LATE: Duration = Duration::from_secs(10);

/// What only celeriac's workers tell in a `hello`.
const OWN: &str = "celeriac";
const WATCHED: &str = "watched";

/// Asks the neighbours for their clocks and revokes.
#[derive(Default)]
pub(crate) struct Mingle {
    started: Option<Arc<Consumer>>,
    /// Reads the answers that come late.
    late: JoinSet<()>,
}

#[async_trait]
impl Step for Mingle {
    fn label(&self) -> &'static str {
        "Mingle"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Events"]
    }

    fn compatible_transports(&self) -> Option<&'static [&'static str]> {
        Some(&["amqp", "memory", "redis", "sqlite"])
    }

    fn include(&self, consumer: &Consumer) -> Include {
        Include::when(consumer.settings.mingle, "--without-mingle")
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        self.started = Some(consumer.clone());
        tracing::info!("mingle: searching for neighbors");
        let Some(synced) = sync(consumer, &mut self.late).await? else { return Ok(()) };
        tell_errors(&synced);
        if synced.replied == 0 {
            tracing::info!("mingle: all alone");
        } else {
            tracing::info!("mingle: sync with {} nodes", synced.nodes);
            tracing::info!("mingle: sync complete");
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.late.shutdown().await;
        if let Some(consumer) = self.started.take() {
            consumer.cluster.keep(None);
        }
    }
}

/// Asks whoever is to be asked; `None` when that is left to the gossip.
async fn sync(consumer: &Arc<Consumer>, late: &mut JoinSet<()>) -> Result<Option<Synced>, Error> {
    let settings = &consumer.settings;
    if !settings.gossip || settings.gossip_mode == GossipMode::Classic {
        return send_hello(consumer, None, late).await.map(Some);
    }
    Ok(match watchers::ask(consumer).await? {
        Found::Refused => Some(send_hello(consumer, None, late).await?),
        Found::Nobody => Some(send_hello(consumer, Some(false), late).await?),
        Found::Watchers { strangers } => {
            let others =
                if strangers { send_hello(consumer, Some(true), late).await? } else { Synced::default() };
            Some(Synced { replied: others.replied + 1, nodes: others.nodes + 1, ..others })
        }
        Found::Blocked => {
            tracing::warn!("mingle: the broker does not take our question");
            None
        }
        Found::Silent => {
            tracing::info!("mingle: the broker is busy: what others know comes by gossip");
            None
        }
    })
}

/// Asks those who do not compare their revokes with a lead's, now that we lead: all others compare with us.
pub(crate) async fn greet(consumer: Arc<Consumer>) {
    let mut late = JoinSet::new();
    match send_hello(&consumer, Some(true), &mut late).await {
        Ok(synced) => tell_errors(&synced),
        Err(error) => tracing::debug!("mingle: nobody could be asked: {error}"),
    }
    while late.join_next().await.is_some() {}
}

fn tell_errors(synced: &Synced) {
    for (node, error) in &synced.errors {
        tracing::error!("mingle: sync with {node} failed: {error}");
    }
}

/// Asks, and takes over what comes back; nobody is waited for where nobody can answer. `watched` tells whether the
/// watchers have answered us, when we have asked them.
async fn send_hello(
    consumer: &Arc<Consumer>,
    watched: Option<bool>,
    late: &mut JoinSet<()>,
) -> Result<Synced, Error> {
    let settings = &consumer.settings.control;
    let (oid, ticket) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let reply_box = settings.reply_box(&oid);
    let mut mailbox = consumer.listen(&reply_box, &reply_box.queues[0].name).await?;
    // A broker that blocks or refuses publishers, because it is short of memory, must not keep us from its queues.
    let published = timeout(TIMEOUT, publish_hello(consumer, &oid, &ticket, watched)).await;
    let synced = match published {
        Ok(Ok(Published::Accepted)) => {
            let synced = gather(consumer, &mut mailbox, &ticket, TIMEOUT).await;
            let consumer = consumer.clone();
            // Celery's neighbours may be busy; what they know of revokes is worth having late, too.
            late.spawn(async move {
                gather(&consumer, &mut mailbox, &ticket, LATE).await;
                mailbox.close().await;
            });
            return Ok(synced);
        }
        Ok(Ok(Published::Returned)) => Synced::default(),
        Ok(Err(error)) if !matches!(error, Error::NotAccepted(_)) => {
            mailbox.close().await;
            return Err(error);
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("mingle: the broker does not take our question");
            Synced::default()
        }
    };
    mailbox.close().await;
    Ok(synced)
}

async fn publish_hello(
    consumer: &Consumer,
    oid: &str,
    ticket: &str,
    watched: Option<bool>,
) -> Result<Published, Error> {
    let settings = &consumer.settings.control;
    let exchange = settings.requests();
    let mut arguments = consumer.revokes.look_at_ids(false, |revoked| {
        revoked.purge(now());
        mingle::hello(consumer.hostname(), revoked, monotonic())
    });
    if let Some(watched) = watched {
        // Python takes it among the arguments that it does not know.
        arguments.insert(OWN, Map::from_iter([(WATCHED, Value::from(watched))]));
    }
    let request = Request {
        method: "hello".to_owned(),
        arguments,
        ticket: Some(ticket.to_owned()),
        reply_to: Some(ReplyTo {
            exchange: control::reply_exchange(&settings.namespace),
            routing_key: oid.to_owned(),
        }),
        ..Request::default()
    };
    let message =
        settings.request(request, TIMEOUT).map_err(|error| Error::NotAccepted(error.to_string()))?;
    let address = Address::exchange(&exchange.exchanges[0].name, "").mandatory();
    let published = consumer.producer.line().publish_to(&exchange, &address, message).await?;
    consumer.chatter.sent("hello");
    Ok(published)
}

/// Whether the watchers have answered who says `hello`, as it tells; workers that know of none do not.
pub(crate) fn watched(arguments: &Map) -> Option<bool> {
    match arguments.get(OWN)?.as_map()?.get(WATCHED)? {
        Value::Bool(watched) => Some(*watched),
        _ => None,
    }
}

/// Takes over the answers that come in time, each as it comes: all together may be large.
async fn gather(consumer: &Consumer, mailbox: &mut Mailbox, ticket: &str, time: Duration) -> Synced {
    let mut synced = Synced::default();
    let gathering = async {
        while let Some(delivery) = mailbox.recv().await {
            let headers = &delivery.message.headers;
            if headers.get("ticket").is_none_or(|of| of.as_str() == Some(ticket)) {
                consumer.chatter.received("reply");
                on_reply(consumer, &delivery.message, &mut synced);
            }
            if mailbox.done(delivery.tag).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        // First: answers may come faster than they are read.
        () = tokio::time::sleep(time) => {}
        () = gathering => {}
    }
    synced
}

fn on_reply(consumer: &Consumer, message: &Message, synced: &mut Synced) {
    consumer.settings.control.hear(message);
    let replies = match message.decode(&consumer.settings.control.accept) {
        Ok(Value::Map(replies)) => replies,
        Ok(_) => return tracing::error!("mingle: a reply is no dict"),
        Err(error) => return tracing::error!("mingle: cannot decode a reply: {error}"),
    };
    let replies = replies.into_iter().map(|(node, value)| {
        tracing::debug!("mingle: processing reply from {node}");
        (node.into_owned(), value)
    });
    let (hostname, clock) = (consumer.hostname(), &consumer.clock);
    consumer.revokes.change_ids(|revoked| mingle::sync(synced, hostname, replies, clock, revoked, now()));
}

/// This host's monotonic clock in seconds, as Python's `time.monotonic()`.
pub(crate) fn monotonic() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
