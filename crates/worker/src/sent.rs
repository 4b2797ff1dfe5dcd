//! The event of a call that was sent (`celery/app/amqp.py`, `as_task_v2` and `send_task_message`).

use celeriac_broker::{Address, Line};
use celeriac_protocol::event::Event;
use celeriac_protocol::{LamportClock, Map, TaskHeaders, Value, time};
use chrono::{DateTime, Utc};

use crate::pidbox::EventSettings;
use crate::wall::now;

/// What `task-sent` says of a call: what its message says, and where it went.
pub(crate) fn fields(headers: &TaskHeaders, address: &Address) -> Map {
    let iso = |time: Option<DateTime<Utc>>| time.map(time::iso);
    // By the default exchange it goes to the queue that the key names.
    let queue = address.exchange.is_empty().then(|| address.routing_key.clone());
    let fields: [(&str, Value); 12] = [
        ("uuid", headers.id.as_str().into()),
        ("root_id", headers.root_id.clone().into()),
        ("parent_id", headers.parent_id.clone().into()),
        ("name", headers.task.as_str().into()),
        ("args", headers.argsrepr.clone().into()),
        ("kwargs", headers.kwargsrepr.clone().into()),
        ("retries", headers.retries.into()),
        ("eta", iso(headers.eta).into()),
        ("expires", iso(headers.expires).into()),
        ("queue", queue.into()),
        ("exchange", address.exchange.as_str().into()),
        ("routing_key", address.routing_key.as_str().into()),
    ];
    Map::from_iter(fields)
}

/// Publishes it, by the line that took the call. The call is on its way already: what fails here is only logged.
pub(crate) async fn publish(
    line: &Line,
    settings: &EventSettings,
    origin: &str,
    clock: &LamportClock,
    fields: Map,
) {
    let event = Event {
        kind: "task-sent".into(),
        hostname: origin.to_owned(),
        utcoffset: Some(settings.utcoffset()),
        pid: Some(std::process::id().into()),
        clock: Some(clock.forward()),
        timestamp: now(),
        fields,
    };
    let address = Address::exchange(&settings.exchange, event.routing_key());
    let published = match settings.message(origin, &event.into_value()) {
        Ok(message) => {
            let sent = line.publish_to(&settings.topology(), &address, message).await;
            sent.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = published {
        tracing::warn!("the event task-sent was not sent: {error}");
    }
}
