//! What a message is told when it is dead-lettered, as RabbitMQ tells it.

use celeriac_protocol::{Map, Message, Value};

/// Why a message leaves its queue for the dead-letter exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathReason {
    /// Rejected without requeue.
    Rejected,
    /// It waited longer than it might.
    Expired,
}

/// Where a message died.
#[derive(Debug, Clone, Copy)]
pub struct Death<'a> {
    /// Why.
    pub reason: DeathReason,
    /// The queue that it was in.
    pub queue: &'a str,
    /// The exchange that it had been published to.
    pub exchange: &'a str,
    /// The routing key that it had been published with.
    pub routing_key: &'a str,
}

impl DeathReason {
    fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
        }
    }
}

impl Death<'_> {
    /// Writes the death into the message's headers (`x-death`, `x-first-death-*`) and takes its expiration away,
    /// so that it does not die of it again. `false` when it goes in circles: it expired in this queue before and
    /// nobody ever rejected it, so it must be dropped.
    pub fn record(self, message: &mut Message) -> bool {
        let mut deaths = match message.headers.remove("x-death") {
            Some(Value::List(deaths)) => deaths,
            _ => Vec::new(),
        };
        let field = |death: &Value, name: &str| {
            death.as_map().and_then(|death| death.get(name)).and_then(Value::as_str).map(str::to_owned)
        };
        let reason = self.reason.as_str();
        let known = deaths.iter().position(|death| {
            field(death, "queue").as_deref() == Some(self.queue)
                && field(death, "reason").as_deref() == Some(reason)
        });
        let rejected = self.reason == DeathReason::Rejected
            || deaths.iter().any(|death| field(death, "reason").as_deref() == Some("rejected"));
        if known.is_some() && !rejected {
            return false;
        }
        let count = known
            .map(|index| deaths.remove(index))
            .and_then(|death| death.as_map()?.get("count")?.as_i64())
            .unwrap_or(0);
        let mut death = Map::new();
        death.insert("count", count.saturating_add(1));
        death.insert("exchange", self.exchange);
        death.insert("queue", self.queue);
        death.insert("reason", reason);
        death.insert("routing-keys", vec![Value::from(self.routing_key)]);
        if let Some(expiration) = message.properties.expiration.take() {
            death.insert("original-expiration", expiration);
        }
        deaths.insert(0, death.into());
        if message.headers.get("x-first-death-queue").is_none() {
            message.headers.insert("x-first-death-exchange", self.exchange);
            message.headers.insert("x-first-death-queue", self.queue);
            message.headers.insert("x-first-death-reason", reason);
        }
        message.headers.insert("x-death", deaths);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(reason: DeathReason, queue: &str) -> Death<'_> {
        Death { reason, queue, exchange: "", routing_key: queue }
    }

    #[test]
    fn deaths_are_counted_newest_first() {
        let mut message = Message::default();
        message.properties.expiration = Some("100".to_owned());
        assert!(death(DeathReason::Rejected, "work").record(&mut message));
        assert!(death(DeathReason::Expired, "retry").record(&mut message));
        assert!(death(DeathReason::Rejected, "work").record(&mut message));
        let deaths = message.headers.get("x-death").and_then(Value::as_list).unwrap();
        let seen: Vec<_> = deaths
            .iter()
            .map(|death| death.as_map().unwrap())
            .map(|death| {
                (death.get("queue").unwrap().as_str().unwrap(), death.get("count").unwrap().as_i64())
            })
            .collect();
        assert_eq!(seen, [("work", Some(2)), ("retry", Some(1))]);
        assert_eq!(message.headers.get("x-first-death-queue").unwrap().as_str(), Some("work"));
        assert_eq!(message.properties.expiration, None);
    }

    #[test]
    fn a_circle_without_a_rejection_ends() {
        let mut message = Message::default();
        assert!(death(DeathReason::Expired, "a").record(&mut message));
        assert!(death(DeathReason::Expired, "b").record(&mut message));
        assert!(!death(DeathReason::Expired, "a").record(&mut message));
    }

    #[test]
    fn foreign_deaths_do_not_matter() {
        let mut message = Message::default();
        message.headers.insert("x-death", vec![Value::Int(1), Value::Null]);
        assert!(death(DeathReason::Rejected, "work").record(&mut message));
    }
}
