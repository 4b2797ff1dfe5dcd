//! The step that answers remote control (`kombu/pidbox.py`). So far it knows `ping`, which `status` asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Delivery, Error, Event, Exchange, ExchangeKind, Inbox, Prefetch, Queue, Session,
    Settlement, Subscription, Topology,
};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, Value, repr};
use chrono::Utc;
use tokio::task::JoinHandle;

use crate::blueprint::Step;
use crate::worker::Shared;

/// The exchange that carries requests to every worker.
const EXCHANGE: &str = "celery.pidbox";
/// How many requests are taken from the broker at once.
const PREFETCH: u16 = 64;
/// The longest that an answer may take to leave.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers requests from its own session, so that it does so whatever the tasks do.
#[derive(Default)]
pub(crate) struct ControlStep {
    open: Option<(Arc<dyn Session>, JoinHandle<()>)>,
}

#[async_trait]
impl Step for ControlStep {
    fn name(&self) -> &'static str {
        "Control"
    }

    async fn start(&mut self, worker: &Arc<Shared>) -> Result<(), Error> {
        if !worker.settings.enable_remote_control {
            return Ok(());
        }
        let connection = worker.connection()?;
        let queue = format!("{}.celery.pidbox", worker.settings.hostname);
        connection.declare(&topology(&queue)).await?;
        let (session, inbox) = connection.open_session(Prefetch::Session(PREFETCH)).await?;
        session.subscribe(&Subscription::new(queue)).await?;
        let answering = tokio::spawn(answer(worker.clone(), session.clone(), inbox));
        self.open = Some((session, answering));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((session, answering)) = self.open.take() {
            answering.abort();
            session.close().await;
        }
    }
}

/// As Celery declares a node's mailbox: neither durable nor kept when nobody listens.
fn topology(queue: &str) -> Topology {
    Topology {
        exchanges: vec![Exchange { durable: false, ..Exchange::new(EXCHANGE, ExchangeKind::Fanout) }],
        queues: vec![Queue {
            durable: false,
            auto_delete: true,
            expires: Some(Duration::from_secs(10)),
            message_ttl: Some(Duration::from_secs(300)),
            ..Queue::new(queue)
        }],
        bindings: vec![Binding::new(queue, EXCHANGE, "")],
    }
}

async fn answer(worker: Arc<Shared>, session: Arc<dyn Session>, mut inbox: Inbox) {
    let losses = worker.losses();
    while let Some(event) = inbox.recv().await {
        let delivery = match event {
            Event::Delivery(delivery) => delivery,
            Event::Cancelled { .. } => {
                return losses.tell(Error::Lost("the mailbox is gone".to_owned()));
            }
            Event::Lost(error) => return losses.tell(error),
        };
        let tag = delivery.tag;
        if let Some(reply) = handle(&worker.settings.hostname, delivery) {
            send(&worker, reply).await;
        }
        if session.settle(&[Settlement::Ack(tag)]).await.is_err() {
            return;
        }
    }
}

struct Reply {
    address: Address,
    ticket: Value,
    body: Value,
}

/// The answer to a request, if it is for us, in time, and wants one.
fn handle(hostname: &str, delivery: Delivery) -> Option<Reply> {
    let Message { headers, properties, body } = delivery.message;
    if headers
        .get("expires")
        .and_then(Value::as_f64)
        .is_some_and(|expires| expires > 0.0 && Utc::now().timestamp_micros() as f64 / 1e6 > expires)
    {
        return None;
    }
    let body = EncodedBody {
        content_type: properties.content_type.unwrap_or_default(),
        content_encoding: properties.content_encoding.unwrap_or_default(),
        compression: None,
        data: body,
    };
    let request = match codec::decode(&body, &Accept::default()) {
        Ok(Value::Map(request)) => request,
        Ok(_) => return None,
        Err(error) => {
            tracing::error!("Cannot decode a remote control request: {error}");
            return None;
        }
    };
    if request.get("pattern").is_some_and(|pattern| !pattern.is_null()) {
        // Whether it is for us cannot be told yet, and an answer that nobody asked for is worse than none.
        return None;
    }
    if let Some(Value::List(destination)) = request.get("destination")
        && !destination.iter().any(|name| name.as_str() == Some(hostname))
    {
        return None;
    }
    let method = request.get("method").and_then(Value::as_str)?;
    let outcome = match method {
        "ping" => ("ok", Value::from("pong")),
        unknown => {
            tracing::warn!("remote control: {unknown} is not known here");
            ("error", format!("KeyError({})", repr::value(&Value::from(unknown))).into())
        }
    };
    let reply_to = request.get("reply_to")?.as_map()?;
    let text = |key| reply_to.get(key).and_then(Value::as_str);
    let outcome: Map = [outcome].into_iter().collect();
    let body: Map = [(hostname.to_owned(), Value::Map(outcome))].into_iter().collect();
    Some(Reply {
        address: Address::exchange(text("exchange")?, text("routing_key")?),
        ticket: request.get("ticket").cloned().unwrap_or_default(),
        body: Value::Map(body),
    })
}

async fn send(worker: &Shared, reply: Reply) {
    let Ok(body) = codec::encode(&reply.body, Serializer::Json, None) else { return };
    let mut headers = Map::new();
    headers.insert("ticket", reply.ticket);
    let message = Message {
        headers,
        properties: Properties {
            content_type: Some(body.content_type),
            content_encoding: Some(body.content_encoding),
            delivery_mode: Some(1),
            priority: Some(0),
            ..Properties::default()
        },
        body: body.data,
    };
    let sending = worker.tracer.producer.line().publish(&reply.address, message);
    match tokio::time::timeout(REPLY_TIMEOUT, sending).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!("nobody waits for a remote control answer: {error}"),
        Err(_) => tracing::warn!("a remote control answer could not leave within {REPLY_TIMEOUT:?}"),
    }
}
