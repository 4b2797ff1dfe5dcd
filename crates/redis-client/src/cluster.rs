//! Redis Cluster: all our keys have one hash tag, so one node has them all. Any node knows which one.

use std::time::Duration;

use redis::{Client, Cmd, ErrorKind, RedisError, RedisResult, Value};

use crate::access::{Access, ask_all, at, connect};

/// What stands before every key when nothing is said.
const PREFIX: &str = "{celeriac}";

/// Some nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub nodes: Vec<(String, u16)>,
    pub access: Access,
    /// One of our keys: whoever has it has all.
    pub key: String,
}

/// The prefix of keys in a cluster, which keeps them together.
pub(crate) fn prefix(given: &str) -> Result<String, String> {
    let tag = given.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    match (given, tag) {
        ("", _) => Ok(PREFIX.to_owned()),
        (_, Some((tag, _))) if !tag.is_empty() => Ok(given.to_owned()),
        _ => Err(format!(
            "in a cluster global_keyprefix must have a hash tag, such as {{app}}: {given:?} has none"
        )),
    }
}

impl Cluster {
    /// A client of the node that has our slot.
    pub async fn master(&self, patience: Duration) -> RedisResult<Client> {
        let failure = (ErrorKind::ClusterConnectionNotFound, "no node knows who has our keys");
        ask_all(&self.nodes, failure, |host, port| self.ask(host, port, patience)).await
    }

    async fn ask(&self, host: &str, port: u16, patience: Duration) -> RedisResult<Client> {
        let mut node = connect(&self.access.client(host, port)?, patience).await?;
        let mut slot = Cmd::new();
        let slot: i64 = slot.arg("CLUSTER").arg("KEYSLOT").arg(&self.key).query_async(&mut node).await?;
        let mut slots = Cmd::new();
        let slots: Value = slots.arg("CLUSTER").arg("SLOTS").query_async(&mut node).await?;
        let (found, port) = owner(slots, slot).ok_or_else(|| {
            RedisError::from((ErrorKind::ClusterConnectionNotFound, "nobody has our slot", slot.to_string()))
        })?;
        // A node that does not know its own address is the one that was asked.
        let host = if found.is_empty() { host } else { &found };
        let client = self.access.client(host, port)?;
        // Who has it answers; who had it says who has.
        let answers = async {
            let mut exists = Cmd::new();
            let mut node = connect(&client, patience).await?;
            exists.arg("EXISTS").arg(&self.key).query_async::<Value>(&mut node).await
        };
        answers.await.map_err(|error| at(host, port, error))?;
        Ok(client)
    }
}

/// The master of a slot, by the answer to `CLUSTER SLOTS`.
fn owner(slots: Value, slot: i64) -> Option<(String, u16)> {
    let Value::Array(ranges) = slots else { return None };
    ranges.into_iter().find_map(|range| {
        let Value::Array(range) = range else { return None };
        let mut range = range.into_iter();
        let (Value::Int(first), Value::Int(last)) = (range.next()?, range.next()?) else { return None };
        let Value::Array(master) = range.next()? else { return None };
        let mut master = master.into_iter();
        let host: Option<String> = redis::from_redis_value(master.next()?).ok()?;
        let Value::Int(port) = master.next()? else { return None };
        let port = u16::try_from(port).ok()?;
        (first..=last).contains(&slot).then(|| (host.unwrap_or_default(), port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_of_a_slot_is_found() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, master| {
            let replica = node(text("replica"), 9);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        let slots = Value::Array(vec![
            range(0, 99, node(text("a"), 1)),
            Value::Okay,
            range(100, 200, node(Value::Nil, 2)),
            range(300, 400, node(text("c"), 70_000)),
        ]);
        for (slot, expected) in
            [(0, Some(("a", 1))), (99, Some(("a", 1))), (200, Some(("", 2))), (250, None), (300, None)]
        {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(owner(slots.clone(), slot), expected, "{slot}");
        }
        assert_eq!(owner(Value::Nil, 0), None);
    }
}
