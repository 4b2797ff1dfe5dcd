//! A request and its replies on the wire (`kombu/pidbox.py`, `Mailbox`).

use std::time::Duration;

use celeriac_broker::{Address, Error, Published};
use celeriac_protocol::control::{self, ReplyTo, Request};
use celeriac_protocol::{Map, Message, Value};
use celeriac_worker::wall::now;
use tokio::time::Instant;
use uuid::Uuid;

use super::{BroadcastOptions, Reply};
use crate::mailbox::Mailbox;
use crate::{App, ControlError};

/// How many replies are gathered at most, and how many bytes of them.
const MAX_REPLIES: usize = 100_000;
const MAX_BYTES: usize = 256 << 20;
/// What is as good as for ever: 30 years. A longer time may have no end that a clock can tell.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Sends a request and, if they are wanted, gathers the replies.
pub(super) async fn broadcast(
    app: &App,
    method: &str,
    arguments: Map,
    options: &BroadcastOptions,
    heard: impl FnMut(&Reply) + Send,
) -> Result<Vec<Reply>, ControlError> {
    let settings = &app.settings().control;
    let (pattern, matcher) = options.pattern.clone().unzip();
    let mut request = Request {
        method: method.to_owned(),
        arguments,
        destination: (!options.destination.is_empty()).then(|| options.destination.clone()),
        pattern,
        matcher,
        ticket: None,
        reply_to: None,
    };
    if !options.reply {
        let message = encode(app, request, options.timeout)?;
        let address = Address::exchange(control::exchange(&settings.namespace), "");
        // A connection that was idle may be found lost: one more try, as kombu makes.
        let line = app.producer().line();
        match line.publish_to(&settings.requests(), &address, message.clone()).await {
            Err(Error::Lost(_)) => line.publish_to(&settings.requests(), &address, message).await?,
            published => published?,
        };
        return Ok(Vec::new());
    }
    let ticket = Uuid::new_v4().to_string();
    let oid = Uuid::new_v4().to_string();
    let reply_to =
        ReplyTo { exchange: control::reply_exchange(&settings.namespace), routing_key: oid.clone() };
    request.ticket = Some(ticket.clone());
    request.reply_to = Some(reply_to.clone());
    let message = encode(app, request, options.timeout)?;
    let mut topology = settings.reply_box(&oid);
    topology.exchanges.extend(settings.requests().exchanges);
    let mut mailbox = Mailbox::open(app, &topology).await?;
    let gathered = ask(&mut mailbox, app, &ticket, message, options, heard).await;
    mailbox.close().await;
    app.producer().line().notice(&mailbox.connection, &gathered).await;
    Ok(gathered?)
}

fn encode(app: &App, request: Request, timeout: Duration) -> Result<Message, ControlError> {
    let method = request.method.clone();
    let request = app.settings().control.request(request, timeout);
    request.map_err(|error| ControlError::Encode { method, reason: error.to_string() })
}

async fn ask(
    mailbox: &mut Mailbox,
    app: &App,
    ticket: &str,
    message: Message,
    options: &BroadcastOptions,
    mut heard: impl FnMut(&Reply) + Send,
) -> Result<Vec<Reply>, Error> {
    let address = Address::exchange(control::exchange(&app.settings().control.namespace), "").mandatory();
    if mailbox.connection.publish(&address, message).await? == Published::Returned {
        // There is no mailbox at all: nobody will ever answer.
        return Ok(Vec::new());
    }
    let destinations = options.destination.len();
    let limit = options.limit.or((destinations > 0).then_some(destinations)).unwrap_or(MAX_REPLIES);
    let timeout = options.timeout.min(FOREVER);
    let (mut replies, mut bytes) = (Vec::new(), 0);
    let mut deadline = Instant::now() + timeout;
    while replies.len() < limit.min(MAX_REPLIES) && bytes < MAX_BYTES {
        let Some(delivery) = mailbox.next(deadline).await? else { break };
        let size = delivery.message.body.len();
        let Some(reply) = read(app, ticket, delivery.message) else { continue };
        // What is no reply gains nobody more time.
        deadline = Instant::now() + timeout;
        bytes += size;
        heard(&reply);
        replies.push(reply);
    }
    Ok(replies)
}

/// The reply in a message: one that is not late, answers our request and names its node.
fn read(app: &App, ticket: &str, message: Message) -> Option<Reply> {
    app.settings().control.hear(&message);
    let headers = &message.headers;
    let expires = headers.get("expires").and_then(Value::as_f64).unwrap_or_default();
    let is_late = expires > 0.0 && now() > expires;
    let is_ours = headers.get("ticket").is_none_or(|of| of.as_str() == Some(ticket));
    if is_late || !is_ours {
        return None;
    }
    match message.decode(&app.settings().control.accept) {
        Ok(Value::Map(reply)) => {
            let (node, value) = reply.into_iter().next()?;
            Some(Reply { node: node.into_owned(), value })
        }
        Ok(other) => {
            tracing::warn!("a reply to remote control must be dict, not {}", other.type_name());
            None
        }
        Err(error) => {
            tracing::warn!("a reply to remote control cannot be decoded: {error}");
            None
        }
    }
}
