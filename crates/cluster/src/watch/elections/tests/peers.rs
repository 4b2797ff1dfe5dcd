//! Workers of all kinds in a virtual cluster, as far as elections go.

use std::collections::BTreeSet;

use super::*;
use crate::gossip::{self, Gossip};

/// What a worker says, and to whom.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// To who hears the events of all: the lead, and strangers.
    Event(Event),
    /// To the readers of a key of the cluster's exchange.
    Message(Key, Arc<Message>),
}

/// A worker and what its elections came to.
pub(super) struct Peer {
    kind: Kind,
    pub(super) leaders: Vec<String>,
    pub(super) runs: usize,
    pub(super) expired: bool,
    /// Python's `sort_heap` raised.
    pub(super) raised: bool,
}

enum Kind {
    Watch(Box<Member>),
    Classic(Box<Gossip>, Arc<LamportClock>, String),
    Python(Python),
}

/// `celery/worker/consumer/gossip.py` on one election.
struct Python {
    hostname: String,
    clock: u64,
    /// How many others it knows.
    alive: usize,
    requests: BTreeSet<(u64, String)>,
    replies: Option<usize>,
}

impl Peer {
    fn new(kind: Kind) -> Self {
        Peer { kind, leaders: Vec::new(), runs: 0, expired: false, raised: false }
    }

    pub(super) fn watch(number: u32, clock: u64, listeners: u32, strangers: bool) -> Self {
        let leads = number == 1;
        let member = Member { leads, listeners, strangers, ..Member::new(number, clock) };
        Peer::new(Kind::Watch(Box::new(member)))
    }

    /// A classic worker that knows the others.
    pub(super) fn classic(number: usize, clock: u64, others: &[(String, &'static str)], now: f64) -> Self {
        let (hostname, clock) = (format!("c{number}"), Arc::new(LamportClock::new(clock)));
        let config = gossip::Config::new(hostname.as_str(), 1);
        let mut gossip = Gossip::new(config, clock.clone(), now);
        for (other, software) in others.iter().filter(|(other, _)| *other != hostname) {
            let online = Event {
                clock: Some(0),
                fields: [("freq", 60.0.into()), ("sw_ident", Value::from(*software))].into_iter().collect(),
                ..event("worker-online", other, Some(1), now)
            };
            gossip.handle(gossip::Input::Event { routing_key: "worker.online", event: &online }, now);
        }
        Peer::new(Kind::Classic(Box::new(gossip), clock, hostname))
    }

    pub(super) fn python(number: usize, clock: u64, alive: usize) -> Self {
        let (requests, hostname) = (BTreeSet::new(), format!("p{number}"));
        Peer::new(Kind::Python(Python { hostname, clock, alive, requests, replies: None }))
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Watch(_))
    }

    /// Whether it reads a key of the cluster's exchange.
    pub(super) fn reads(&self, key: Key) -> bool {
        let Kind::Watch(member) = &self.kind else { return false };
        match key {
            Key::Lead => member.leads,
            Key::Node(node) => node.0 == u64::from(member.number),
            _ => true,
        }
    }

    /// Another leads from now on.
    pub(super) fn follow(&mut self, lead: u32, now: f64) -> Vec<Said> {
        let Kind::Watch(member) = &mut self.kind else { return Vec::new() };
        member.leads = member.number == lead;
        let actions = member.on_lead(now);
        self.carry_out(actions, now)
    }

    pub(super) fn stand(&mut self, now: f64) -> Vec<Said> {
        let (id, topic, action) = (ID.to_owned(), "task".to_owned(), Value::Null);
        match &mut self.kind {
            Kind::Watch(member) => {
                let actions = member.stand(now);
                self.carry_out(actions, now)
            }
            Kind::Classic(gossip, ..) => {
                let actions = gossip.handle(gossip::Input::Election { id, topic, action }, now);
                self.carry_out_classic(actions, now)
            }
            Kind::Python(python) => {
                python.replies = Some(0);
                vec![python.publish("worker-elect", now)]
            }
        }
    }

    pub(super) fn hear(&mut self, said: &Said, now: f64) -> Vec<Said> {
        match (&mut self.kind, said) {
            (Kind::Watch(member), Said::Message(_, message)) => {
                let actions = member.hear(message, now);
                self.carry_out(actions, now)
            }
            (Kind::Watch(member), Said::Event(event)) => {
                let is_strangers = !event.hostname.starts_with('w');
                if !(member.leads && is_strangers && event.kind == "worker-elect") {
                    return Vec::new();
                }
                let actions = member.hear_candidate(event, now);
                self.carry_out(actions, now)
            }
            (Kind::Classic(gossip, ..), Said::Event(event)) => {
                let input = gossip::Input::Event { routing_key: &event.routing_key(), event };
                let actions = gossip.handle(input, now);
                self.carry_out_classic(actions, now)
            }
            (Kind::Python(_), Said::Event(event)) => self.hear_python(event, now),
            (_, Said::Message(..)) => Vec::new(),
        }
    }

    pub(super) fn tick(&mut self, now: f64) -> Vec<Said> {
        match &mut self.kind {
            Kind::Watch(member) => {
                let actions = member.run(now).into_iter().map(|(_, action)| action).collect();
                self.carry_out(actions, now)
            }
            Kind::Classic(gossip, ..) => {
                let actions = gossip.handle(gossip::Input::Tick, now);
                self.carry_out_classic(actions, now)
            }
            Kind::Python(_) => Vec::new(),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<f64> {
        match &self.kind {
            Kind::Watch(member) => member.elections.next_timeout(),
            Kind::Classic(gossip, ..) => gossip.next_timeout(),
            Kind::Python(_) => None,
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>, now: f64) -> Vec<Said> {
        let Kind::Watch(member) = &self.kind else { return Vec::new() };
        let mut all = Vec::new();
        for action in actions {
            match action {
                Action::Send { key, message, .. } => all.push(Said::Message(key, message)),
                Action::Publish { hostname, pid, clock, kind, fields } => {
                    let clock = Some(clock.unwrap_or_else(|| member.clock.forward()));
                    all.push(Said::Event(Event { clock, fields, ..event(kind, &hostname, pid, now) }));
                }
                Action::Elected { leader, run, .. } => {
                    self.leaders.push(leader);
                    self.runs += usize::from(run.is_some());
                }
                Action::Expired(_) => self.expired = true,
                other => panic!("{other:?}"),
            }
        }
        all
    }

    fn carry_out_classic(&mut self, actions: Vec<gossip::Action>, now: f64) -> Vec<Said> {
        let Kind::Classic(_, clock, hostname) = &self.kind else { return Vec::new() };
        let mut all = Vec::new();
        for action in actions {
            match action {
                gossip::Action::Publish { kind, fields } => {
                    let clock = Some(clock.forward());
                    all.push(Said::Event(Event { clock, fields, ..event(kind, hostname, Some(1), now) }));
                }
                gossip::Action::Elected { leader, run, .. } => {
                    self.leaders.push(leader);
                    self.runs += usize::from(run.is_some());
                }
                gossip::Action::Expired(_) => self.expired = true,
                gossip::Action::Refused(error) => panic!("{error}"),
                _ => {}
            }
        }
        all
    }

    fn hear_python(&mut self, event: &Event, now: f64) -> Vec<Said> {
        let Kind::Python(python) = &mut self.kind else { return Vec::new() };
        if event.kind == "worker-elect" {
            let name = format!("{}.{}", event.hostname, event.pid.unwrap());
            python.requests.insert((event.clock.unwrap(), name));
            return vec![python.publish("worker-elect-ack", now)];
        }
        let Some(replies) = &mut python.replies else { return Vec::new() };
        *replies += 1;
        if *replies >= python.alive {
            python.replies = None;
            let heap = std::mem::take(&mut python.requests);
            self.raised |= heap.len() < 2;
            let leader = heap.first().map(|(_, name)| name.clone()).unwrap_or_default();
            self.runs += usize::from(leader == format!("{}.1", python.hostname));
            self.leaders.push(leader);
        }
        Vec::new()
    }
}

impl Python {
    fn publish(&mut self, kind: &'static str, now: f64) -> Said {
        self.clock += 1;
        let fields =
            [("id", ID.into()), ("topic", "task".into()), ("action", Value::Null), ("cver", 1.into())];
        let event = event(kind, &self.hostname, Some(1), now);
        Said::Event(Event { clock: Some(self.clock), fields: fields.into_iter().collect(), ..event })
    }
}

fn event(kind: &'static str, hostname: &str, pid: Option<i64>, now: f64) -> Event {
    Event { kind: kind.into(), hostname: hostname.to_owned(), pid, timestamp: now, ..Event::default() }
}
