use celeriac_broker::{Binding, Error, Exchange, ExchangeKind, Queue, QueueKind, Topology};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Map, Value};
use rusqlite::params;

use super::Tx;
use crate::fault::Fault;

impl Tx<'_> {
    pub fn declare(&mut self, topology: &Topology) -> Result<(), Fault> {
        for exchange in topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty()) {
            self.declare_exchange(exchange)?;
        }
        for queue in &topology.queues {
            self.declare_queue(queue)?;
        }
        for binding in &topology.bindings {
            self.bind(binding)?;
        }
        Ok(())
    }

    fn declare_exchange(&self, exchange: &Exchange) -> Result<(), Fault> {
        let declared = describe_exchange(exchange)?;
        let sql = "SELECT declared FROM celeriac_exchange WHERE name = ?1";
        match self.row(sql, [&exchange.name], |row| row.get::<_, String>(0))? {
            Some(known) if alike(&known, &declared) => {}
            Some(_) => return Err(Error::Precondition(format!("exchange {}", exchange.name)).into()),
            None => {
                let sql = "INSERT INTO celeriac_exchange (name, kind, declared, auto_delete) VALUES (?1, ?2, ?3, ?4)";
                self.execute(
                    sql,
                    params![exchange.name, exchange.kind.as_str(), declared, exchange.auto_delete],
                )?;
            }
        }
        Ok(())
    }

    fn declare_queue(&mut self, queue: &Queue) -> Result<(), Fault> {
        match queue.kind {
            QueueKind::Classic => {}
            QueueKind::Quorum => {
                tracing::warn!(
                    queue = queue.name,
                    "sqlite has no quorum queues: this one is a classic queue"
                );
            }
            QueueKind::Stream => {
                return Err(Error::Unsupported { transport: "sqlite", what: "keep a stream" }.into());
            }
        }
        let declared = describe_queue(queue)?;
        self.free_if_dead(&queue.name)?;
        self.execute("INSERT OR IGNORE INTO kombu_queue (name) VALUES (?1)", [&queue.name])?;
        let id = self.queue_id(&queue.name)?;
        let known = self.row("SELECT declared, owner FROM celeriac_queue WHERE id = ?1", [id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        if let Some((known, owner)) = known {
            if owner.is_some_and(|owner| owner != self.owner) {
                return Err(self.refused(&queue.name));
            }
            if !alike(&known, &declared) {
                return Err(Error::Precondition(format!("queue {}", queue.name)).into());
            }
            self.execute("UPDATE celeriac_queue SET used_at = ?2 WHERE id = ?1", [id, self.now])?;
        } else {
            let milliseconds =
                |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            self.execute(
                "INSERT INTO celeriac_queue (id, declared, auto_delete, owner, max_priority, message_ttl, expires, \
                 used_at, dead_letter_exchange, dead_letter_routing_key) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
                params![
                    id,
                    declared,
                    queue.auto_delete,
                    queue.exclusive.then_some(self.owner),
                    queue.max_priority,
                    queue.message_ttl.map(milliseconds),
                    queue.expires.map(milliseconds),
                    self.now,
                    queue.dead_letter_exchange,
                    queue.dead_letter_routing_key,
                ],
            )?;
        }
        self.note_expiry(id)
    }

    fn bind(&self, binding: &Binding) -> Result<(), Fault> {
        let sql = "SELECT 1 FROM celeriac_exchange WHERE name = ?1";
        if self.row(sql, [&binding.exchange], |_| Ok(()))?.is_none() {
            return Err(Error::NotFound(format!("exchange {}", binding.exchange)).into());
        }
        let queue = self.queue_id(&binding.queue)?;
        self.execute(
            "INSERT OR IGNORE INTO celeriac_binding (exchange, routing_key, queue_id) VALUES (?1, ?2, ?3)",
            params![binding.exchange, binding.routing_key, queue],
        )?;
        Ok(())
    }

    pub fn bindings(&self) -> Result<Vec<Binding>, Fault> {
        let sql = "SELECT q.name, b.exchange, b.routing_key FROM celeriac_binding b JOIN kombu_queue q \
                   ON q.id = b.queue_id";
        let mut statement = self.db.prepare_cached(sql)?;
        let bindings = statement.query_map([], |row| {
            Ok(Binding { queue: row.get(0)?, exchange: row.get(1)?, routing_key: row.get(2)? })
        })?;
        Ok(bindings.collect::<Result<_, _>>()?)
    }
}

pub(super) fn kind(name: &str) -> ExchangeKind {
    [ExchangeKind::Topic, ExchangeKind::Fanout]
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .unwrap_or_default()
}

fn describe_exchange(exchange: &Exchange) -> Result<String, Fault> {
    let fields = [
        ("kind", Value::from(exchange.kind.as_str())),
        ("durable", exchange.durable.into()),
        ("auto_delete", exchange.auto_delete.into()),
        ("arguments", exchange.arguments.clone().into()),
    ];
    json(fields.into_iter().collect())
}

fn describe_queue(queue: &Queue) -> Result<String, Fault> {
    let time = |time: Option<std::time::Duration>| {
        Value::from(time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let fields = [
        ("durable", Value::from(queue.durable)),
        ("exclusive", queue.exclusive.into()),
        ("auto_delete", queue.auto_delete.into()),
        ("max_priority", queue.max_priority.map(u32::from).into()),
        ("expires", time(queue.expires)),
        ("message_ttl", time(queue.message_ttl)),
        ("dead_letter_exchange", queue.dead_letter_exchange.clone().into()),
        ("dead_letter_routing_key", queue.dead_letter_routing_key.clone().into()),
        ("arguments", queue.arguments.clone().into()),
    ];
    json(fields.into_iter().collect())
}

fn json(map: Map) -> Result<String, Fault> {
    let encoded = codec::encode(&Value::Map(map), Serializer::Json, None)
        .map_err(|error| Error::Precondition(error.to_string()))?;
    Ok(String::from_utf8_lossy(&encoded.data).into_owned())
}

/// The order of arguments does not count.
fn alike(known: &str, declared: &str) -> bool {
    let read = |text: &str| {
        let body = EncodedBody {
            content_type: Serializer::Json.content_type().to_owned(),
            content_encoding: Serializer::Json.content_encoding().to_owned(),
            compression: None,
            data: text.to_owned().into(),
        };
        codec::decode(&body, &Accept::default())
    };
    known == declared || read(known).is_ok_and(|known| read(declared) == Ok(known))
}
