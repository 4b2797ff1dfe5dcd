use std::collections::HashMap;

use celeriac_cluster::heart;
use celeriac_protocol::{Event, Map, Value};

/// A worker of Celery's, as far as elections need it (`celery/worker/consumer/gossip.py`).
#[derive(Default)]
pub struct Python {
    name: String,
    hostname: String,
    /// The interval and the last heartbeat of the others.
    workers: HashMap<String, (f64, f64)>,
    requests: HashMap<String, Vec<(u64, String)>>,
    replies: HashMap<String, usize>,
    /// Each decision: the election, and who won.
    pub decided: Vec<(String, String)>,
    /// Elections whose decision raised, as `sort_heap` does with one entry.
    pub raised: Vec<String>,
}

impl Python {
    pub fn new(hostname: &str, pid: u32) -> Self {
        Python { name: format!("{hostname}.{pid}"), hostname: hostname.to_owned(), ..Python::default() }
    }

    /// What to publish to be a candidate.
    pub fn stand(&mut self, id: &str) -> (&'static str, Map) {
        self.replies.insert(id.to_owned(), 0);
        let fields =
            [("id", id.into()), ("topic", "task".into()), ("action", Value::Null), ("cver", 1.into())];
        ("worker-elect", fields.into_iter().collect())
    }

    /// Takes what has come, perhaps our own; returns what to publish.
    pub fn hear(&mut self, event: &Event, now: f64) -> Option<(&'static str, Map)> {
        let id = || event.fields.get("id").and_then(Value::as_str).map(str::to_owned);
        match &*event.kind {
            "worker-elect" => {
                let id = id()?;
                let name = format!("{}.{}", event.hostname, event.pid?);
                self.requests.entry(id.clone()).or_default().push((event.clock?, name));
                return Some(("worker-elect-ack", Map::from_iter([("id", id.into())])));
            }
            "worker-elect-ack" => self.count(id()?, now),
            _ if event.hostname == self.hostname => {}
            "worker-offline" => drop(self.workers.remove(&event.hostname)),
            _ => {
                let freq = event.fields.get("freq").and_then(Value::as_f64).unwrap_or(60.0);
                self.workers.insert(event.hostname.clone(), (freq, now));
            }
        }
        None
    }

    /// Every five seconds: forgets who is silent.
    pub fn periodic(&mut self, now: f64) {
        self.workers.retain(|_, (freq, last)| now < *last + 2.0 * *freq);
    }

    /// Whether it knows a worker.
    pub fn knows(&self, hostname: &str) -> bool {
        self.workers.contains_key(hostname)
    }

    /// Turns what a heart says into what Celery's would.
    pub fn disguise(fields: &mut Map) {
        fields.insert("sw_ident", "py-celery");
        fields.remove(heart::IDENT);
    }

    fn count(&mut self, id: String, now: f64) {
        let Some(replies) = self.replies.get_mut(&id) else { return };
        *replies += 1;
        let alive = self.workers.values().filter(|(freq, last)| now < last + 2.0 * freq).count();
        if *replies < alive {
            return;
        }
        // What raises leaves all as it was: the next acknowledgement tries again.
        match self.requests.get(&id).map_or(&[][..], Vec::as_slice) {
            [] | [_] => self.raised.push(id),
            some => {
                let leader = some.iter().min().map(|(_, name)| name.clone()).unwrap_or_default();
                self.requests.remove(&id);
                self.replies.remove(&id);
                self.decided.push((id, leader));
            }
        }
    }

    /// Whether it carries out the action of an election.
    pub fn runs(&self, id: &str) -> usize {
        self.decided.iter().filter(|(decided, leader)| decided == id && *leader == self.name).count()
    }
}
