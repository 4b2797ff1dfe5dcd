use std::collections::VecDeque;
use std::sync::Arc;

use celeriac_cluster::gossip::Gossip;
use celeriac_cluster::heart::{self, Heart, Load};
use celeriac_cluster::watch::message::{Key, Message, NodeId};
use celeriac_cluster::watch::{Ears, Time, Watch};
use celeriac_protocol::revoked::Revoked;
use celeriac_protocol::{Event, LamportClock, Map};

use super::python::Python;
use super::told::Told;

/// The wall clock's seconds at the start of a run.
pub const EPOCH: f64 = 1_800_000_000.0;

/// What a process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A celeriac worker.
    Watch,
    /// A celeriac worker `--without-heartbeat`.
    Heartless,
    /// A celeriac worker with classic gossip.
    Classic,
    /// A celeriac worker `--without-gossip`.
    Deaf,
    /// Celery's worker.
    Python,
}

/// What it is.
pub enum Kind {
    Watch(Box<Watch>),
    Classic(Box<Gossip>),
    Python(Box<Python>),
    Deaf,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Stopped,
    Crashed,
}

/// What travels; shared by all who get it.
#[derive(Debug, Clone)]
pub enum Parcel {
    Message(Key, Arc<Message>),
    Event(Arc<Event>),
}

/// An election as a worker was told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub id: String,
    pub leader: String,
    pub runs: bool,
}

/// One process, until its end.
pub struct Process {
    pub hostname: Arc<str>,
    /// Its place in the list of processes, and one.
    pub pid: u32,
    pub node: NodeId,
    pub role: Role,
    pub kind: Kind,
    /// Seconds by which its wall clock is ahead.
    pub skew: f64,
    pub started: f64,
    pub ended: Option<(f64, End)>,
    pub is_connected: bool,
    pub is_paused: bool,
    /// Counts its connections: what is under way to an earlier one is gone.
    pub session: u32,
    /// What is bound for it.
    pub ears: Ears,
    /// What it wants to be bound.
    pub wanted: Ears,
    pub heart: Option<Heart>,
    pub clock: Arc<LamportClock>,
    pub revoked: Revoked,
    /// What came while it stood still.
    pub backlog: VecDeque<Parcel>,
    /// Seconds by which its queue of events is behind.
    pub lag: f64,
    /// Until then, others may call it lost or doubt what it says.
    pub excused_until: f64,
    /// When the next tick, and the next heartbeat, come up.
    pub tick_at: f64,
    pub heart_at: f64,
    /// Ticks so far.
    pub ticks: u64,
    /// When the last message reaches the broker, the mailbox and the queue of events.
    pub sent_until: f64,
    pub mailbox_until: f64,
    pub events_until: f64,
    pub told: Told,
    /// When it handled the last event of each process, and when a silence that is too long last ended.
    pub heard: Vec<(f64, f64)>,
    pub outcomes: Vec<Outcome>,
    pub expired: Vec<String>,
    /// The last lead that it was told to follow, with its term.
    pub follows: Option<(Arc<str>, u64)>,
    pub twins: usize,
    /// Whose clocks it was told to differ.
    pub drifts: Vec<Arc<str>>,
    pub ignored: usize,
}

impl Process {
    pub fn time(&self, now: f64) -> Time {
        Time { steady: now, wall: EPOCH + now + self.skew }
    }

    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// It runs, and has a connection.
    pub fn is_here(&self) -> bool {
        self.is_alive() && self.is_connected
    }

    pub fn watch(&self) -> Option<&Watch> {
        match &self.kind {
            Kind::Watch(watch) => Some(watch),
            _ => None,
        }
    }

    pub fn leads(&self) -> bool {
        self.watch().is_some_and(|watch| watch.standing().leads)
    }

    pub fn python(&self) -> Option<&Python> {
        match &self.kind {
            Kind::Python(python) => Some(python),
            _ => None,
        }
    }

    /// Whether it hears the events of all workers.
    pub fn hears_events(&self) -> bool {
        match self.kind {
            Kind::Watch(_) => self.ears.events,
            Kind::Classic(_) | Kind::Python(_) => self.is_connected,
            Kind::Deaf => false,
        }
    }

    pub fn has_ears(&self) -> bool {
        self.hears_events() || self.ears != Ears::default()
    }

    /// What its heart says now, if it has one and anything is due.
    pub fn beat(&mut self, input: heart::Input, now: f64) -> Option<Event> {
        let beat = self.heart.as_mut()?.handle(input, Load::default(), now)?;
        let mut fields = beat.fields;
        if self.role == Role::Python {
            Python::disguise(&mut fields);
        }
        Some(self.event(beat.kind, fields, now))
    }

    /// An event of its own, as its dispatcher makes them.
    pub fn event(&self, kind: &'static str, fields: Map, now: f64) -> Event {
        Event {
            kind: kind.into(),
            hostname: self.hostname.to_string(),
            utcoffset: Some(0.0),
            pid: Some(self.pid.into()),
            clock: Some(self.clock.forward()),
            timestamp: self.time(now).wall,
            fields,
        }
    }

    /// Notes that it handled an event of another process.
    pub fn hear(&mut self, other: usize, silence: f64, now: f64) {
        if self.heard.len() <= other {
            self.heard.resize(other + 1, (f64::MIN, f64::MIN));
        }
        let (last, gap) = self.heard[other];
        let gap = if now - last >= silence { now } else { gap };
        self.heard[other] = (now, gap);
    }
}
