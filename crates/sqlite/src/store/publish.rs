use celeriac_broker::{Address, Envelope, Error, ExchangeKind, Published};
use celeriac_protocol::Message;
use rusqlite::params;
use uuid::Uuid;

use super::{Effect, Tx, declare};
use crate::fault::Fault;

/// A message ready to be stored.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub address: Address,
    payload: String,
    priority: u8,
    /// Milliseconds.
    expiration: Option<i64>,
}

impl Parcel {
    /// # Errors
    /// [`Error::NotAccepted`] when a header cannot be written as JSON.
    pub fn new(address: Address, message: Message) -> Result<Self, Error> {
        let priority = message.properties.priority.unwrap_or(0);
        let expiration = message.properties.expiration.as_deref().and_then(|text| text.parse().ok());
        let envelope = Envelope {
            message,
            exchange: address.exchange.clone(),
            routing_key: address.routing_key.clone(),
            redelivered: false,
            delivery_tag: Uuid::new_v4().to_string(),
        };
        let payload = envelope.encode().map_err(|error| Error::NotAccepted(error.to_string()))?;
        let payload = String::from_utf8(payload).map_err(|error| Error::NotAccepted(error.to_string()))?;
        Ok(Parcel { address, payload, priority, expiration })
    }
}

impl Tx<'_> {
    pub fn publish(&mut self, parcel: &Parcel) -> Result<Published, Fault> {
        let queues = self.route(&parcel.address)?;
        for queue in &queues {
            self.store(*queue, &parcel.payload, parcel.priority, parcel.expiration)?;
        }
        match queues.is_empty() && parcel.address.mandatory {
            true => Ok(Published::Returned),
            false => Ok(Published::Accepted),
        }
    }

    /// The queues that a message goes to, each once.
    pub fn route(&self, address: &Address) -> Result<Vec<i64>, Fault> {
        let Address { exchange, routing_key, .. } = address;
        if exchange.is_empty() {
            return Ok(self.column("SELECT id FROM kombu_queue WHERE name = ?1", [routing_key])?);
        }
        let sql = "SELECT kind FROM celeriac_exchange WHERE name = ?1";
        let kind: Option<String> = self.row(sql, [exchange], |row| row.get(0))?;
        let kind = kind.ok_or_else(|| Error::NotFound(format!("exchange {exchange}")))?;
        match declare::kind(&kind) {
            ExchangeKind::Direct => Ok(self.column(
                "SELECT queue_id FROM celeriac_binding WHERE exchange = ?1 AND routing_key = ?2",
                [exchange, routing_key],
            )?),
            ExchangeKind::Fanout => Ok(self
                .column("SELECT DISTINCT queue_id FROM celeriac_binding WHERE exchange = ?1", [exchange])?),
            ExchangeKind::Topic => self.route_topic(exchange, routing_key),
        }
    }

    fn route_topic(&self, exchange: &str, routing_key: &str) -> Result<Vec<i64>, Fault> {
        let sql = "SELECT queue_id, routing_key FROM celeriac_binding WHERE exchange = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query([exchange])?;
        let mut queues = Vec::new();
        while let Some(row) = rows.next()? {
            if ExchangeKind::Topic.matches(row.get_ref(1)?.as_str().unwrap_or_default(), routing_key) {
                queues.push(row.get(0)?);
            }
        }
        queues.sort_unstable();
        queues.dedup();
        Ok(queues)
    }

    /// Puts a payload into a queue.
    pub fn store(
        &mut self,
        queue: i64,
        payload: &str,
        priority: u8,
        expiration: Option<i64>,
    ) -> Result<(), Fault> {
        self.execute(
            "INSERT INTO kombu_message (visible, timestamp, payload, version, queue_id) VALUES (1, NULL, ?1, 1, ?2)",
            params![payload, queue],
        )?;
        let id = self.db.last_insert_rowid();
        let sql = "SELECT max_priority, message_ttl FROM celeriac_queue WHERE id = ?1";
        let (max_priority, ttl) = self
            .row(sql, [queue], |row| Ok((row.get::<_, Option<u8>>(0)?, row.get::<_, Option<i64>>(1)?)))?
            .unwrap_or_default();
        let priority = max_priority.map_or(0, |max| priority.min(max));
        let ttl = [expiration.filter(|ttl| *ttl >= 0), ttl].into_iter().flatten().min();
        let expires_at = ttl.map(|ttl| self.now.saturating_add(ttl));
        if priority > 0 || expires_at.is_some() {
            self.execute(
                "INSERT INTO celeriac_message (id, queue_id, priority, expires_at) VALUES (?1, ?2, ?3, ?4)",
                params![id, queue, priority, expires_at],
            )?;
        }
        self.effects.extend(expires_at.map(Effect::Due));
        self.effects.push(Effect::Ready);
        Ok(())
    }
}
