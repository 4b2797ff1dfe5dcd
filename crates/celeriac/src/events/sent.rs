use celeriac_broker::Address;
use celeriac_protocol::event::Event;
use celeriac_protocol::{Map, Message, Value, codec, repr, time};
use celeriac_worker::wall::{now, utcoffset};
use celeriac_worker::{Call, Expires};
use chrono::{DateTime, TimeDelta, Utc};

use crate::App;
use crate::origin::origin;

/// The event `task-sent` of a call (`celery/app/amqp.py`, `as_task_v2` and `send_task_message`).
pub(crate) struct SentEvent(Event);

impl SentEvent {
    /// The event of a call that is about to be sent. Its times become absolute, so that message and event say the
    /// same.
    pub fn new(app: &App, id: &str, call: &mut Call) -> Self {
        let now = Utc::now();
        let options = &mut call.options;
        let later = |wait| TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
        if let Some(wait) = options.countdown.take().filter(|wait| !wait.is_zero()) {
            options.eta = options.eta.or_else(|| later(wait));
        }
        if let Some(Expires::After(wait)) = options.expires {
            options.expires = later(wait).map(Expires::At);
        }
        let expires = match options.expires {
            Some(Expires::At(time)) => Some(time),
            _ => None,
        };
        let default = &app.producer().settings().queues.default;
        let routing_key = |name: &Option<String>| name.clone().unwrap_or_else(|| default.clone());
        let exchange = options.exchange.clone().filter(|exchange| !exchange.is_empty());
        let (queue, routing_key) = match exchange {
            Some(_) => (None, routing_key(&options.routing_key)),
            None => {
                let queue = routing_key(&options.queue.clone().or_else(|| options.routing_key.clone()));
                (Some(queue.clone()), queue)
            }
        };
        let iso = |time: Option<DateTime<Utc>>| time.map(time::iso);
        let fields: [(&str, Value); 12] = [
            ("uuid", id.into()),
            ("root_id", options.root_id.as_deref().unwrap_or(id).into()),
            ("parent_id", options.parent_id.clone().into()),
            ("name", call.task.as_str().into()),
            ("args", repr::args(&call.args).into()),
            ("kwargs", repr::kwargs(&call.kwargs).into()),
            ("retries", 0.into()),
            ("eta", iso(options.eta).into()),
            ("expires", iso(expires).into()),
            ("queue", queue.into()),
            ("exchange", exchange.unwrap_or_default().into()),
            ("routing_key", routing_key.into()),
        ];
        SentEvent(Event {
            kind: "task-sent".into(),
            hostname: origin(),
            utcoffset: Some(utcoffset().into()),
            pid: Some(std::process::id().into()),
            clock: None,
            timestamp: 0.0,
            fields: fields.into_iter().collect(),
        })
    }

    /// Sends it, by the line that took the call. The call is on its way already: what fails here is only logged.
    pub async fn publish(self, app: &App) {
        let SentEvent(mut event) = self;
        let settings = &app.settings().events;
        event.clock = Some(app.clock().forward());
        event.timestamp = now();
        let headers = Map::from_iter([("hostname", Value::from(event.hostname.as_str()))]);
        let address = Address::exchange(&settings.exchange, event.routing_key());
        let published = match codec::encode(&event.into_value(), settings.serializer, None) {
            Ok(body) => {
                let message = Message::transient(headers, body);
                let line = app.producer().line();
                line.publish_to(&settings.topology(), &address, message)
                    .await
                    .map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = published {
            tracing::warn!("the event task-sent was not sent: {error}");
        }
    }
}
