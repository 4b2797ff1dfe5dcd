use celeriac_broker::{Error, Exchange, ExchangeKind, Queue, QueueKind, Topology};
use celeriac_protocol::codec::{self, Serializer};
use celeriac_protocol::{Map, Value as Data};

use crate::hub::{Hub, lock};
use crate::keys::Keys;

/// Declares a topology, all of it at once.
pub(crate) async fn declare(hub: &Hub, topology: &Topology) -> Result<(), Error> {
    let things = things(hub, topology)?;
    if things.iter().any(|thing| thing[0] == "q" && !thing[3].is_empty()) {
        hub.live().await?;
    }
    let link = &hub.link;
    let call = link.call(&link.scripts.declare, &[], |call| call.arg(&hub.owner).arg(things.as_flattened()));
    let answer: Vec<String> = redis::from_redis_value(call.await?)
        .map_err(|error| Error::NotAccepted(format!("an odd answer: {error}")))?;
    let (word, rest) = answer.split_first().map_or(("", &[][..]), |(word, rest)| (word.as_str(), rest));
    let what = || rest.first().cloned().unwrap_or_default();
    match word {
        "ok" => {}
        "precondition" => return Err(Error::Precondition(what())),
        "buried" => return Err(hub.buried()),
        "missing" => return Err(Error::NotFound(what())),
        _ => {
            let reason = format!("the queue {} is another connection's alone", what());
            return Err(Error::AccessRefused { broker: link.display_url().to_owned(), reason });
        }
    }
    note(hub, topology);
    for (binding, kind) in topology.bindings.iter().zip(rest) {
        if kind == ExchangeKind::Fanout.as_str() {
            let channel = hub.keys.listens(&binding.exchange, &binding.routing_key);
            let old = hub.keys.listens_to_old(&channel);
            hub.bind(&binding.queue, channel).await?;
            if let Some(old) = old {
                hub.bind(&binding.queue, old).await?;
            }
        }
    }
    Ok(())
}

/// What the script is given: a letter and four fields each.
fn things(hub: &Hub, topology: &Topology) -> Result<Vec<[String; 5]>, Error> {
    let declared = lock(&hub.declared);
    let mut things = Vec::new();
    let named = topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty());
    for exchange in named {
        let arguments = describe_exchange(exchange);
        let known = declared.exchanges.get(&exchange.name);
        if known.is_some_and(|(kind, known)| *kind != exchange.kind || *known != arguments) {
            return Err(Error::Precondition(format!("exchange {}", exchange.name)));
        }
        let kind = exchange.kind.as_str().to_owned();
        things.push(["x".to_owned(), exchange.name.clone(), kind, arguments, String::new()]);
    }
    for queue in &topology.queues {
        match queue.kind {
            QueueKind::Classic => {}
            QueueKind::Quorum => {
                tracing::warn!(queue = queue.name, "Redis has no quorum queues: this one is a classic queue");
            }
            QueueKind::Stream => {
                return Err(Error::Unsupported { transport: "redis", what: "keep a stream" });
            }
        }
        let arguments = describe_queue(queue);
        if declared.queues.get(&queue.name).is_some_and(|known| *known != arguments) {
            return Err(Error::Precondition(format!("queue {}", queue.name)));
        }
        let expires = queue.expires.map(|expires| expires.as_millis().max(1).to_string());
        let flags = [(queue.exclusive, 'e'), (queue.auto_delete, 'a')];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
        things.push(["q".to_owned(), queue.name.clone(), expires.unwrap_or_default(), flags, arguments]);
    }
    for binding in &topology.bindings {
        let kind = topology.exchanges.iter().find(|exchange| exchange.name == binding.exchange);
        let kind = kind.map(|exchange| exchange.kind);
        let kind = kind.or_else(|| declared.exchanges.get(&binding.exchange).map(|(kind, _)| *kind));
        let pattern = Keys::pattern(kind.unwrap_or_default(), &binding.routing_key);
        let (exchange, key) = (binding.exchange.clone(), binding.routing_key.clone());
        things.push(["b".to_owned(), binding.queue.clone(), exchange, key, pattern]);
    }
    Ok(things)
}

fn note(hub: &Hub, topology: &Topology) {
    let mut declared = lock(&hub.declared);
    for exchange in &topology.exchanges {
        declared.exchanges.insert(exchange.name.clone(), (exchange.kind, describe_exchange(exchange)));
    }
    for queue in &topology.queues {
        declared.queues.insert(queue.name.clone(), describe_queue(queue));
        if let Some(ttl) = queue.message_ttl {
            declared.ttls.insert(queue.name.clone(), ttl);
        }
    }
}

/// What two declarations must have in common. Whether it outlives the broker is none of ours: everything does, if
/// anything.
fn describe_exchange(exchange: &Exchange) -> String {
    json(exchange.arguments.clone())
}

fn describe_queue(queue: &Queue) -> String {
    let millis = |time: Option<std::time::Duration>| {
        time.map(|time| Data::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let text = |text: &Option<String>| text.clone().map(Data::from);
    let facts = [
        ("exclusive", queue.exclusive.then_some(true.into())),
        ("auto_delete", queue.auto_delete.then_some(true.into())),
        ("max_priority", queue.max_priority.map(|priority| Data::Int(priority.into()))),
        ("expires", millis(queue.expires)),
        ("message_ttl", millis(queue.message_ttl)),
        ("dead_letter_exchange", text(&queue.dead_letter_exchange)),
        ("dead_letter_routing_key", text(&queue.dead_letter_routing_key)),
    ];
    json(facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn json(map: Map) -> String {
    // What cannot be written as JSON is nothing that this broker heeds.
    let body = codec::encode(&Data::Map(map), Serializer::Json, None);
    body.ok().and_then(|body| String::from_utf8(body.data.to_vec()).ok()).unwrap_or_default()
}
