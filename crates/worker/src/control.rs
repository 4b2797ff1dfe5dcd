//! The step that answers remote control (`celery/worker/pidbox.py`, `kombu/pidbox.py`); its commands are below.

mod arguments;
mod builtin;
mod cluster;
mod command;
mod conf;
mod events;
mod inspect;
mod memory;
mod pool;
mod queues;
mod revoke;
mod signal;
mod stats;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Address, Delivery, Error};
use celeriac_protocol::control::{ReplyTo, Request};
use celeriac_protocol::{Map, Message, Value};
use tokio::task::JoinHandle;

pub use self::arguments::Arguments;
use self::arguments::cut;
pub(crate) use self::command::Commands;
pub use self::command::{CommandError, Handler};
pub use self::signal::signal_name;
use crate::GossipMode;
use crate::blueprint::{Include, Step};
use crate::consumer::Consumer;
use crate::listener::Mailbox;
use crate::mingle;
use crate::wall::now;

/// The longest that an answer may take to leave.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two tries for a mailbox that is taken.
const MAILBOX_RETRY: Duration = Duration::from_millis(500);
/// The longest ticket that is repeated, in bytes: a header that is too large would cost the connection.
const TICKET: usize = 1024;

/// Answers requests, whatever the tasks do.
#[derive(Default)]
pub(crate) struct Control {
    answering: Option<JoinHandle<()>>,
}

#[async_trait]
impl Step for Control {
    fn label(&self) -> &'static str {
        "Control"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Mingle"]
    }

    fn include(&self, consumer: &Consumer) -> Include {
        Include::when(consumer.settings.enable_remote_control, "worker_enable_remote_control is off")
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let mailbox = match open(consumer).await {
            Ok(mailbox) => Some(mailbox),
            Err(error) if is_taken(&error) => {
                tracing::warn!(
                    "A node named {} is already using this process mailbox, perhaps this one before it \
                     reconnected: {error}",
                    consumer.hostname()
                );
                None
            }
            Err(error) => return Err(error),
        };
        let consumer = consumer.clone();
        self.answering = Some(tokio::spawn(async move {
            match mailbox {
                Some(mailbox) => answer(consumer, mailbox).await,
                None => wait_and_answer(consumer).await,
            }
        }));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(answering) = self.answering.take() {
            answering.abort();
            let _ = answering.await;
        }
    }
}

/// The node's mailbox.
async fn open(consumer: &Consumer) -> Result<Mailbox, Error> {
    let topology = consumer.settings.control.mailbox(consumer.hostname());
    consumer.listen(&topology, &topology.queues[0].name).await
}

/// Whether the mailbox is locked or declared otherwise (405 and 406), as an earlier one of ours may be: the broker lets
/// go of it when it notices that its connection is gone.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::AccessRefused { .. } | Error::Precondition(_))
}

/// Tries again for the mailbox, while the tasks are worked on.
async fn wait_and_answer(consumer: Arc<Consumer>) {
    loop {
        tokio::time::sleep(MAILBOX_RETRY).await;
        match open(&consumer).await {
            Ok(mailbox) => {
                tracing::info!("the process mailbox is free again");
                return answer(consumer, mailbox).await;
            }
            Err(error) if is_taken(&error) => {}
            Err(error) => return consumer.losses().tell(error),
        }
    }
}

async fn answer(consumer: Arc<Consumer>, mut mailbox: Mailbox) {
    while let Some(delivery) = mailbox.recv().await {
        // Settled first, as kombu does: a command that is carried out must not come again.
        if mailbox.done(delivery.tag).await.is_err() {
            return;
        }
        handle(&consumer, delivery).await;
    }
}

/// Does what a request asks for, if it is for us and in time, and answers where an answer is wanted.
async fn handle(consumer: &Arc<Consumer>, delivery: Delivery) {
    let headers = &delivery.message.headers;
    if headers.get("expires").and_then(Value::as_f64).is_some_and(|expires| expires > 0.0 && now() > expires)
    {
        return;
    }
    consumer.settings.control.hear(&delivery.message);
    // As Celery: clients have no clock that would tell us anything.
    consumer.clock.forward();
    let request = match read(consumer, delivery.message) {
        Ok(request) => request,
        Err(error) => {
            consumer.counters.invalid_control.count();
            return tracing::error!("Cannot decode a remote control request: {error}");
        }
    };
    consumer.chatter.received(&format!("control.{}", consumer.commands.known(&request.method)));
    if !request.is_for(consumer.hostname()) {
        return;
    }
    let Request { method, arguments, ticket, reply_to, destination, .. } = request;
    let shown = ticket.as_deref().map_or("none", cut);
    tracing::debug!("pidbox received method {} [ticket:{shown}]", cut(&method));
    // Of those that a worker greets some answer. An answer tells all revokes: too dear where nobody gets it.
    let is_heard = method == "hello" && destination.is_none() && !answers_hello(consumer, &arguments);
    let outcome = if is_heard && !consumer.commands.is_own(&method) {
        inspect::hear_hello(consumer, &arguments).map(|()| Value::Null)
    } else {
        consumer.commands.call(consumer, &method, arguments).await
    };
    let outcome = outcome.unwrap_or_else(|error| {
        consumer.counters.invalid_control.count();
        tracing::error!("pidbox command error: {}: {error}", cut(&method));
        Map::from_iter([("error", Value::from(error.to_string()))]).into()
    });
    // A worker that is told to end does not answer that, as Celery's.
    if let Some(reply_to) = reply_to.filter(|_| !is_heard && method != "shutdown") {
        reply(consumer, &reply_to, ticket, outcome).await;
    }
}

fn answers_hello(consumer: &Consumer, arguments: &Map) -> bool {
    if !consumer.settings.gossip || consumer.settings.gossip_mode == GossipMode::Classic {
        return true;
    }
    let limit = consumer.settings.gossip_watchers;
    let knows = !consumer.revokes.ids().is_empty();
    consumer.cluster.answers_hello(consumer.hostname(), mingle::watched(arguments), knows, limit)
}

fn read(consumer: &Consumer, message: Message) -> Result<Request, String> {
    let body = message.decode(&consumer.settings.accept).map_err(|error| error.to_string())?;
    Request::read(body).map_err(|error| error.to_string())
}

/// Answers go only to the exchange that is made for them: one that does not exist would cost the channel.
async fn reply(consumer: &Consumer, reply_to: &ReplyTo, ticket: Option<String>, outcome: Value) {
    let settings = &consumer.settings.control;
    let exchange = settings.replies();
    if reply_to.exchange != exchange.exchanges[0].name {
        consumer.counters.invalid_control.count();
        return tracing::warn!("an answer is not sent to the foreign exchange {:?}", cut(&reply_to.exchange));
    }
    if ticket.as_ref().is_some_and(|ticket| ticket.len() > TICKET) {
        consumer.counters.invalid_control.count();
        return tracing::warn!("a request is not answered: its ticket is longer than {TICKET} bytes");
    }
    let message = match settings.reply(consumer.hostname(), outcome, ticket) {
        Ok(message) => message,
        Err(error) => return tracing::error!("a remote control answer cannot be encoded: {error}"),
    };
    let address = Address::exchange(&reply_to.exchange, &reply_to.routing_key);
    let sending = consumer.producer.line().publish_to(&exchange, &address, message);
    match tokio::time::timeout(REPLY_TIMEOUT, sending).await {
        Ok(Ok(_)) => consumer.chatter.sent("reply"),
        Ok(Err(error)) => tracing::debug!("nobody waits for a remote control answer: {error}"),
        Err(_) => tracing::warn!("a remote control answer could not leave within {REPLY_TIMEOUT:?}"),
    }
}
