use std::collections::{BTreeSet, HashMap};

use super::*;

pub(super) const ID: &str = "x";

/// A worker in a virtual network: what it is told, it answers with events, stamped by its clock.
pub(super) enum Peer {
    Celeriac { gossip: Gossip, clock: Arc<LamportClock>, done: Done },
    Python(Python),
}

/// What a candidate came to.
#[derive(Debug, Default, Clone)]
pub(super) struct Done {
    pub(super) leaders: Vec<String>,
    pub(super) runs: usize,
    pub(super) expired: bool,
    /// Python's `sort_heap` raised.
    pub(super) raised: bool,
}

/// `celery/worker/consumer/gossip.py` on elections.
pub(super) struct Python {
    name: String,
    clock: u64,
    alive: usize,
    requests: HashMap<String, BTreeSet<(u64, String)>>,
    replies: HashMap<String, usize>,
    pub(super) done: Done,
}

impl Peer {
    pub(super) fn celeriac(name: &str, clock: u64, now: f64) -> Self {
        let clock = Arc::new(LamportClock::new(clock));
        let gossip = Gossip::new(Config::new(name, 1), clock.clone(), now);
        Peer::Celeriac { gossip, clock, done: Done::default() }
    }

    pub(super) fn python(name: &str, clock: u64, alive: usize) -> Self {
        let (requests, replies, done) = Default::default();
        Peer::Python(Python { name: name.to_owned(), clock, alive, requests, replies, done })
    }

    pub(super) fn done(&self) -> &Done {
        match self {
            Peer::Celeriac { done, .. } => done,
            Peer::Python(python) => &python.done,
        }
    }

    pub(super) fn stand(&mut self, now: f64) -> Vec<Event> {
        let (id, topic) = (ID.to_owned(), "task".to_owned());
        match self {
            Peer::Celeriac { .. } => self.handle(Input::Election { id, topic, action: Value::Null }, now),
            Peer::Python(python) => {
                python.replies.insert(id, 0);
                let fields =
                    [("id", ID.into()), ("topic", topic.into()), ("action", Value::Null), ("cver", 1.into())];
                vec![python.publish("worker-elect", &fields)]
            }
        }
    }

    pub(super) fn hear(&mut self, event: &Event, now: f64) -> Vec<Event> {
        match self {
            Peer::Celeriac { .. } => {
                self.handle(Input::Event { routing_key: &event.routing_key(), event }, now)
            }
            Peer::Python(python) => python.hear(event).into_iter().collect(),
        }
    }

    pub(super) fn tick(&mut self, now: f64) -> Vec<Event> {
        if matches!(self, Peer::Python(_)) { Vec::new() } else { self.handle(Input::Tick, now) }
    }

    fn handle(&mut self, input: Input<'_>, now: f64) -> Vec<Event> {
        let Peer::Celeriac { gossip, clock, done } = self else { return Vec::new() };
        let mut events = Vec::new();
        for action in gossip.handle(input, now) {
            match action {
                Action::Publish { kind, fields } => {
                    let stamp = clock.forward();
                    events.push(Event { fields, ..event(kind, &gossip.config.hostname, stamp, &[]) });
                }
                Action::Elected { leader, run, .. } => {
                    done.leaders.push(leader);
                    done.runs += usize::from(run.is_some());
                }
                Action::Expired(_) => done.expired = true,
                Action::Refused(error) => panic!("{error}"),
                _ => {}
            }
        }
        events
    }
}

impl Python {
    fn publish(&mut self, kind: &'static str, fields: &[(&'static str, Value)]) -> Event {
        self.clock += 1;
        event(kind, &self.name, self.clock, fields)
    }

    fn hear(&mut self, event: &Event) -> Option<Event> {
        let id = event.fields.get("id").and_then(Value::as_str);
        match &*event.kind {
            "worker-elect" => {
                let entry = (event.clock.unwrap(), format!("{}.1", event.hostname));
                self.requests.entry(id?.to_owned()).or_default().insert(entry);
                Some(self.publish("worker-elect-ack", &[("id", id?.into())]))
            }
            "worker-elect-ack" => {
                let replies = self.replies.get_mut(id?)?;
                *replies += 1;
                if *replies >= self.alive {
                    self.replies.remove(id?);
                    let heap = self.requests.remove(id?).unwrap_or_default();
                    self.done.raised |= heap.len() < 2;
                    let leader = heap.first().map(|(_, name)| name.clone()).unwrap_or_default();
                    self.done.runs += usize::from(leader == format!("{}.1", self.name));
                    self.done.leaders.push(leader);
                }
                None
            }
            _ => {
                if event.hostname != self.name {
                    self.clock = self.clock.max(event.clock.unwrap_or(0)) + 1;
                }
                None
            }
        }
    }
}
