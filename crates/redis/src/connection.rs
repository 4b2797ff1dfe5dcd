use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Connection, Error, ExchangeKind, Inbox, Prefetch, Published, Session, Topology,
};
use celeriac_protocol::Message;
use redis::{Cmd, Value};

use crate::hub::{Hub, lock};
use crate::io::IO;
use crate::parcel::Parcel;
use crate::session::RedisSession;
use crate::{RedisTransport, declare};

/// A connection; when it is dropped it closes.
pub(crate) struct RedisConnection {
    hub: Arc<Hub>,
}

impl RedisConnection {
    pub async fn open(transport: &RedisTransport) -> Result<Self, Error> {
        let transport = transport.clone();
        let hub = IO.run(async move { Hub::open(&transport).await }).await?;
        Ok(RedisConnection { hub })
    }

    /// Does one thing to one queue; `None` when it does not exist.
    async fn queue(&self, what: &str, queue: &str) -> Result<Option<u64>, Error> {
        self.hub.check()?;
        let link = &self.hub.link;
        let answer = link.call(&link.scripts.queue, &[], |call| call.arg(what).arg(queue)).await?;
        Ok(number(&answer).and_then(|count| u64::try_from(count).ok()))
    }
}

/// The number that a script has returned.
pub(crate) fn number(answer: &Value) -> Option<i64> {
    match answer {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

#[async_trait]
impl Connection for RedisConnection {
    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        self.hub.check()?;
        declare::declare(&self.hub, topology).await
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        self.hub.check()?;
        let Address { exchange, routing_key, mandatory } = address;
        let parcel = Parcel::new(exchange, routing_key, message)?;
        let Hub { link, keys, declared, .. } = &*self.hub;
        let kind = lock(declared).exchanges.get(exchange).map(|(kind, _)| *kind);
        let (step, channel) = (keys.step(parcel.priority), keys.channel(exchange, routing_key));
        let call = link.call(&link.scripts.publish, &[], |call| {
            call.arg(exchange).arg(routing_key).arg(&parcel.payload).arg(step);
            call.arg(kind.map_or("", ExchangeKind::as_str)).arg(&channel).arg(u8::from(*mandatory));
            call.arg(keys.old_channel(&channel).unwrap_or_default())
        });
        let taken = number(&call.await?).unwrap_or(0);
        if taken > 0 {
            // Redis does not tell us what we change ourselves.
            self.hub.changed(None);
        }
        match taken {
            ..0 => Err(Error::NotFound(format!("exchange {exchange}"))),
            0 if *mandatory => Ok(Published::Returned),
            _ => Ok(Published::Accepted),
        }
    }

    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error> {
        self.hub.check()?;
        self.hub.live().await?;
        let (session, inbox) = RedisSession::open(&self.hub, prefetch);
        Ok((Arc::new(session), inbox))
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        let len = self.queue("len", queue).await?;
        len.ok_or_else(|| Error::NotFound(format!("queue {queue}")))
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        let count = self.queue("purge", queue).await?;
        count.ok_or_else(|| Error::NotFound(format!("queue {queue}")))
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        self.queue("delete", queue).await?;
        self.hub.changed(None);
        self.hub.forget(queue).await
    }

    async fn bindings(&self) -> Result<Vec<Binding>, Error> {
        self.hub.check()?;
        let (link, keys) = (&self.hub.link, &self.hub.keys);
        let prefix = keys.prefixed("_kombu.binding.");
        let mut bindings = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(&cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(1000);
            let answer = link.query(&scan).await?;
            let odd = |_| Error::NotAccepted("an odd answer to SCAN".to_owned());
            let (next, found): (String, Vec<String>) = redis::from_redis_value(answer).map_err(odd)?;
            for key in found {
                let mut members = Cmd::new();
                let members = link.query(members.arg("SMEMBERS").arg(&key)).await?;
                let members: Vec<String> = redis::from_redis_value(members).map_err(odd)?;
                let exchange = key.strip_prefix(&prefix).unwrap_or_default();
                for member in members {
                    let parts: Vec<_> = member.split(&keys.options.sep).collect();
                    if let [routing_key, _, queue] = parts.as_slice() {
                        bindings.push(Binding::new(*queue, exchange, *routing_key));
                    }
                }
            }
            if next == "0" {
                return Ok(bindings);
            }
            cursor = next;
        }
    }

    async fn closed(&self) -> Error {
        self.hub.closed().await
    }

    async fn close(&self) {
        self.hub.close().await;
    }
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        let hub = self.hub.clone();
        if hub.check().is_ok() {
            hub.io.spawn(async move { hub.close().await });
        }
    }
}
