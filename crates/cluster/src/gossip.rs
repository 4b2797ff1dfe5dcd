//! Workers that listen to each other's events (`celery/worker/consumer/gossip.py`), as Celery's own do: each hears all.
//!
//! The driver binds a queue to `worker.#` of the event exchange, whose messages live for
//! [`Config::heartbeat_interval`], and hands in each event with its routing key, [`Input::Tick`] at
//! [`Gossip::next_timeout`], and [`Input::Election`] when the control command `election` comes. It carries the
//! [`Action`]s out in their order; all that is published goes out on one channel, and each event takes its clock from
//! the same [`LamportClock`] when it is published, or elections have more than one winner.
//!
//! All times are wall clock, in seconds.

mod election;
mod members;
mod round;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use celeriac_protocol::clock::LamportClock;
use celeriac_protocol::{Event, Map, Value};

use crate::due::due;
use crate::state::{Drift, Worker};
use election::Elections;
use members::Members;
use round::Candidacy;

/// The most members that are remembered, as in Celery's state.
const MAX_MEMBERS: usize = 5_000;

/// Who we are, and Celery's two intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Our node's name.
    pub hostname: String,
    /// Our process id.
    pub pid: u32,
    /// Seconds between two looks for members that are lost.
    pub interval: f64,
    /// Seconds that an event may wait in our queue; the driver's to apply.
    pub heartbeat_interval: f64,
}

impl Config {
    /// Celery's intervals.
    pub fn new(hostname: impl Into<String>, pid: u32) -> Self {
        Config { hostname: hostname.into(), pid, interval: 5.0, heartbeat_interval: 2.0 }
    }
}

/// What happens to a worker that gossips.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// An event has come; our own ones, too.
    Event {
        /// The routing key of its message: `worker.heartbeat`.
        routing_key: &'a str,
        /// What it says.
        event: &'a Event,
    },
    /// [`Gossip::next_timeout`] has come.
    Tick,
    /// We are to be a candidate in an election.
    Election {
        /// What tells it from other elections.
        id: String,
        /// Which kind of action it is about: `task`.
        topic: String,
        /// What its winner does.
        action: Value,
    },
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell that a worker `joined the party`. As in Celery, each `worker-online` is one.
    Joined(Box<Worker>),
    /// Tell that a worker `left`.
    Left(Box<Worker>),
    /// Tell that we `missed heartbeat from` a worker, which is forgotten.
    Lost(Box<Worker>),
    /// Warn that a worker's clock differs from ours.
    Drifted(Drift),
    /// Warn that there are more workers than are remembered; told once.
    Crowded {
        /// How many are.
        limit: usize,
    },
    /// Publish an event.
    Publish {
        /// Its type.
        kind: &'static str,
        /// Its fields.
        fields: Map,
    },
    /// An election in which we were a candidate is decided, or was before we heard of it.
    Elected {
        /// The election.
        id: String,
        /// The winner, as `HOSTNAME.PID`.
        leader: String,
        /// Its topic and action when the winner is us: run it.
        run: Option<(String, Value)>,
    },
    /// An election in which we were a candidate was not decided within a minute, or made room for newer ones.
    Expired(String),
    /// Something was refused.
    Refused(GossipError),
}

/// An event or a request about an election that cannot be used; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GossipError {
    /// A field that Celery sends is absent or of another type.
    #[error("{kind} of {hostname} has no good {field}")]
    Field {
        /// The event.
        kind: &'static str,
        /// Who sent it.
        hostname: String,
        /// Which field.
        field: &'static str,
    },
    /// The id of an election is too long.
    #[error("the id of an election has {0} bytes, more than 1024")]
    LongId(usize),
    /// We are a candidate in too many elections that are not decided.
    #[error("candidate in 100 elections already")]
    TooManyElections,
}

/// A worker's gossip.
#[derive(Debug)]
pub struct Gossip {
    config: Config,
    clock: Arc<LamportClock>,
    members: Members,
    elections: Elections,
    looked: f64,
    /// When the last heartbeat of ours was sent that has come back.
    echo: Option<f64>,
    crowd_told: bool,
}

impl Gossip {
    /// A worker that has heard nobody yet. `clock` is the one by which its events are stamped.
    pub fn new(config: Config, clock: Arc<LamportClock>, now: f64) -> Self {
        let elections = Elections::new(&config.hostname, config.pid);
        Gossip {
            config,
            clock,
            members: Members::new(MAX_MEMBERS),
            elections,
            looked: now,
            echo: None,
            crowd_told: false,
        }
    }

    /// What to do now that something has happened.
    pub fn handle(&mut self, input: Input<'_>, now: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Event { routing_key, event } => self.on_message(routing_key, event, now, &mut actions),
            Input::Tick => self.tick(now, &mut actions),
            Input::Election { id, topic, action } => {
                self.elections.stand(id, topic, action, &self.members, now, &mut actions)
            }
        }
        actions
    }

    /// When [`Input::Tick`] is due, in seconds.
    pub fn next_timeout(&self) -> Option<f64> {
        let look = self.looked + self.config.interval;
        Some(self.elections.next_timeout().map_or(look, |timeout| timeout.min(look)))
    }

    /// Goes on after events could not be heard for a while: who was not heard meanwhile may be heard again before the
    /// next look.
    pub fn resume(&mut self, now: f64) {
        self.looked = now;
    }

    /// The workers that are known, ourselves apart; those heard of last come first.
    pub fn members(&self) -> impl Iterator<Item = &Worker> {
        self.members.iter()
    }

    /// Those of which a heartbeat came in time.
    pub fn alive(&self, now: f64) -> impl Iterator<Item = &Worker> {
        self.members.iter().filter(move |worker| worker.alive(now))
    }

    fn on_message(&mut self, routing_key: &str, event: &Event, now: f64, actions: &mut Vec<Action>) {
        if routing_key.split('.').next() == Some("task") {
            return;
        }
        let is_own = event.hostname == self.config.hostname;
        match event.clock.filter(|_| !is_own) {
            Some(clock) => self.clock.adjust(clock),
            None => self.clock.forward(),
        };
        let result = match routing_key {
            "worker.elect" => self.on_elect(event, now, actions),
            "worker.elect.ack" => self.on_elect_ack(event, now, actions),
            _ if event.group() == "worker" => {
                self.on_worker(event, is_own, now, actions);
                Ok(())
            }
            _ => Ok(()),
        };
        actions.extend(result.err().map(Action::Refused));
    }

    fn on_worker(&mut self, event: &Event, is_own: bool, now: f64, actions: &mut Vec<Action>) {
        let has_come = event.subject() == "online";
        let has_gone = event.subject() == "offline";
        if has_come || has_gone {
            self.elections.on_gone(&event.hostname);
        }
        if is_own {
            // Another worker of our name may have another clock.
            if event.pid == Some(self.config.pid.into()) {
                self.echo = Some(event.timestamp);
            }
            return;
        }
        if has_gone {
            let known = self.members.remove(&event.hostname);
            let mut worker = known.unwrap_or_else(|| Worker::new(event.hostname.as_str()));
            worker.update(event, now, 0.0);
            actions.push(Action::Left(Box::new(worker)));
        } else {
            self.heard(event, now, actions);
        }
        if has_come || has_gone {
            self.elections.look(&self.members, now, actions);
        }
    }

    fn heard(&mut self, event: &Event, now: f64, actions: &mut Vec<Action>) {
        let change = self.members.update(event, now, self.lag(now));
        actions.extend(change.drift.map(Action::Drifted));
        if change.crowded && !self.crowd_told {
            self.crowd_told = true;
            actions.push(Action::Crowded { limit: MAX_MEMBERS });
        }
        let joined = self.members.get(&event.hostname).filter(|_| change.joined);
        actions.extend(joined.map(|worker| Action::Joined(Box::new(worker.clone()))));
    }

    /// How long an event that comes now may have waited for us: all that follows our own in the queue was sent later.
    fn lag(&self, now: f64) -> f64 {
        self.echo.map_or(0.0, |sent| (now - sent).max(0.0))
    }

    fn tick(&mut self, now: f64, actions: &mut Vec<Action>) {
        if due(self.looked, self.config.interval, now) {
            self.looked = now;
            for worker in self.members.remove_dead(now) {
                self.elections.on_gone(&worker.hostname);
                actions.push(Action::Lost(Box::new(worker)));
            }
        }
        self.elections.look(&self.members, now, actions);
    }

    /// What Celery refuses is refused: all must see the same candidates.
    fn on_elect(&mut self, event: &Event, now: f64, actions: &mut Vec<Action>) -> Result<(), GossipError> {
        let wrong =
            |field| GossipError::Field { kind: "worker-elect", hostname: event.hostname.clone(), field };
        let id = election_id(event).ok_or_else(|| wrong("id"))?;
        let clock = event.clock.ok_or_else(|| wrong("clock"))?;
        let pid = event.pid.ok_or_else(|| wrong("pid"))?;
        if let Some(field) =
            ["topic", "action", "cver"].into_iter().find(|key| event.fields.get(key).is_none())
        {
            return Err(wrong(field));
        }
        let candidacy = Candidacy { clock, name: format!("{}.{pid}", event.hostname) };
        self.elections.on_elect(id, &event.hostname, candidacy, &self.members, now, actions);
        Ok(())
    }

    fn on_elect_ack(
        &mut self,
        event: &Event,
        now: f64,
        actions: &mut Vec<Action>,
    ) -> Result<(), GossipError> {
        let kind = "worker-elect-ack";
        let id = election_id(event).ok_or_else(|| GossipError::Field {
            kind,
            hostname: event.hostname.clone(),
            field: "id",
        })?;
        self.elections.on_ack(id, &event.hostname, &self.members, now, actions);
        Ok(())
    }
}

fn election_id(event: &Event) -> Option<&str> {
    event.fields.get("id").and_then(Value::as_str).filter(|id| id.len() <= election::MAX_ID)
}
