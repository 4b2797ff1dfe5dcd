//! The members of a cluster, as its lead numbers them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use celeriac_protocol::{Event, Map, Value};

use super::message::{Departure, Happening, MAX_DEPARTURES, MAX_HOSTNAME, MAX_MEMBERS, NodeId, Snapshot};
use super::random::hash;
use crate::state::Worker;

/// The most bytes of the name of a software, a version or a system.
pub(super) const MAX_TEXT: usize = 64;
/// Seconds between heartbeats that are believed.
pub(super) const FREQS: std::ops::RangeInclusive<f64> = 0.5..=60.0;

/// A worker of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its place: lower numbers joined earlier.
    pub number: u64,
    /// Its name.
    pub hostname: Arc<str>,
    /// What tells this process from others of its name: a celeriac worker's start in milliseconds since 1970, a Python
    /// worker's process id.
    pub incarnation: u64,
    /// Its name on the cluster's exchange; without one it does not listen there, and never watches.
    pub node: Option<NodeId>,
    /// Its process id.
    pub pid: Option<i64>,
    /// Seconds between its heartbeats, between 0.5 and 60.
    pub freq: f64,
    /// Its software: `py-celery`, `celeriac`.
    pub sw_ident: Option<Arc<str>>,
    /// The version of it.
    pub sw_ver: Option<Arc<str>>,
    /// Its operating system.
    pub sw_sys: Option<Arc<str>>,
}

impl Member {
    /// A worker as one of its events tells, not yet numbered; `None` when it has no name that could be told.
    pub(super) fn of(event: &Event) -> Option<Self> {
        if event.hostname.is_empty() || event.hostname.len() > MAX_HOSTNAME {
            return None;
        }
        let text = |key| {
            let text = event.fields.get(key)?.as_str()?;
            (text.len() <= MAX_TEXT).then(|| Arc::from(text))
        };
        let node = celeriac(event).and_then(|own| own.get("node")?.as_str()).and_then(NodeId::parse);
        Some(Member {
            number: 0,
            hostname: event.hostname.as_str().into(),
            incarnation: incarnation(event),
            node: node.filter(|_| starts(event).is_some()),
            pid: event.pid,
            freq: freq(event).unwrap_or(crate::heart::INTERVAL),
            sw_ident: text("sw_ident"),
            sw_ver: text("sw_ver"),
            sw_sys: text("sw_sys"),
        })
    }

    /// Whether a departure is of this process.
    pub(super) fn is(&self, gone: &Departure) -> bool {
        self.hostname == gone.hostname && self.incarnation == gone.incarnation
    }

    /// Whether it started later than another process of its name, as far as that can be known.
    pub(super) fn is_newer(&self, other: &Member) -> bool {
        self.node.is_some() && other.node.is_some() && self.incarnation > other.incarnation
    }

    /// The member as those are told of it who ask for a worker, heard of at `heard`.
    pub fn to_worker(&self, heard: f64) -> Worker {
        let mut worker = Worker::new(self.hostname.clone());
        let text = |text: &Option<Arc<str>>| text.as_deref().map(Box::from);
        worker.pid = self.pid;
        worker.freq = self.freq;
        worker.heartbeats = vec![heard];
        worker.sw_ident = text(&self.sw_ident);
        worker.sw_ver = text(&self.sw_ver);
        worker.sw_sys = text(&self.sw_sys);
        if let Some(node) = self.node {
            let own = [("started", self.incarnation.into()), ("node", Value::from(node.to_string()))];
            worker.celeriac = Some(Map::from_iter(own));
        }
        worker
    }
}

/// What tells the process that sent an event from others of its name.
pub(super) fn incarnation(event: &Event) -> u64 {
    starts(event).or_else(|| event.pid.and_then(|pid| u64::try_from(pid).ok())).unwrap_or_default()
}

/// When a celeriac worker started; its incarnations are in order, a Python worker's are not.
pub(super) fn starts(event: &Event) -> Option<u64> {
    let started = celeriac(event)?.get("started")?.as_i64()?;
    u64::try_from(started).ok().filter(|started| *started <= super::message::MAX_COUNT)
}

/// The interval of heartbeats that an event tells. One that was asked for by remote control tells another, and nothing of
/// what its worker does.
pub(super) fn freq(event: &Event) -> Option<f64> {
    event.fields.get("active")?;
    let freq = event.fields.get("freq")?.as_f64().filter(|freq| !freq.is_nan())?;
    Some(freq.clamp(*FREQS.start(), *FREQS.end()))
}

fn celeriac(event: &Event) -> Option<&Map> {
    event.fields.get(crate::heart::IDENT)?.as_map()
}

/// The members, and the version to which their changes led.
#[derive(Debug, Default)]
pub struct Roster {
    members: HashMap<Arc<str>, Arc<Member>>,
    order: BTreeMap<u64, Arc<str>>,
    version: u64,
    digest: u64,
    /// How many do not listen to the cluster's exchange.
    strangers: usize,
    departures: VecDeque<(u64, Departure)>,
}

impl Roster {
    /// Counts the changes in this term, for who leads from its begin.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Two rosters are equal when their sizes and digests are: a sum of hashes of hostname and incarnation, whatever
    /// their order.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no more may join.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_MEMBERS
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether any member does not listen to the cluster's exchange: Python's, and celeriac's with another gossip.
    pub fn has_strangers(&self) -> bool {
        self.strangers > 0
    }

    /// The member of a name.
    pub fn member(&self, hostname: &str) -> Option<&Arc<Member>> {
        self.members.get(hostname)
    }

    /// The members in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.order.values().filter_map(|hostname| self.members.get(hostname))
    }

    /// Whether a node is the member of this name.
    pub(super) fn has(&self, hostname: &str, node: NodeId) -> bool {
        self.member(hostname).is_some_and(|member| member.node == Some(node))
    }

    /// The hostname of a node.
    pub(super) fn hostname(&self, node: NodeId) -> Option<Arc<str>> {
        self.iter().find(|member| member.node == Some(node)).map(|member| member.hostname.clone())
    }

    /// How many that could watch are before this one, one of them not counted; all when it is no member.
    pub(super) fn rank(&self, hostname: &str, without: Option<NodeId>) -> usize {
        let can_watch = |member: &&Arc<Member>| member.node.is_some() && member.node != without;
        self.iter().take_while(|member| &*member.hostname != hostname).filter(can_watch).count()
    }

    /// The number of who joins next.
    pub(super) fn next_number(&self) -> u64 {
        self.order.last_key_value().map_or(1, |(number, _)| number + 1)
    }

    /// Takes over a change, which leads to the next version.
    pub(super) fn apply(&mut self, happening: &Happening) {
        self.version += 1;
        match happening {
            Happening::Joined(member) if self.is_full() && self.member(&member.hostname).is_none() => {}
            Happening::Joined(member) => {
                self.departures.retain(|(_, gone)| !member.is(gone));
                self.remove(&member.hostname);
                self.insert(member.clone());
            }
            Happening::Gone(departure) => {
                if self.is_there(departure) {
                    self.remove(&departure.hostname);
                }
                if self.departures.len() >= MAX_DEPARTURES {
                    self.departures.pop_front();
                }
                self.departures.push_back((self.version, departure.clone()));
            }
        }
    }

    /// Whether a departure is of a member as it is known here.
    pub(super) fn is_there(&self, departure: &Departure) -> bool {
        self.member(&departure.hostname).is_some_and(|member| member.is(departure))
    }

    /// The last departures, oldest first, each with the version that it led to.
    pub(super) fn departures(&self) -> &VecDeque<(u64, Departure)> {
        &self.departures
    }

    /// Whether this process, or a later one of its name, went lately.
    pub(super) fn departed(&self, member: &Member) -> bool {
        let is_later = |gone: &Departure| member.node.is_some() && gone.incarnation > member.incarnation;
        let mut gone = self.departures.iter().map(|(_, gone)| gone);
        gone.any(|gone| member.is(gone) || gone.hostname == member.hostname && is_later(gone))
    }

    /// A lead's whole roster in place of ours.
    pub(super) fn replace(&mut self, snapshot: &Snapshot) {
        *self = Roster {
            version: snapshot.version,
            departures: snapshot.departures.iter().cloned().collect(),
            ..Roster::default()
        };
        self.members.reserve(snapshot.members.len());
        snapshot.members.iter().for_each(|member| self.insert(member.clone()));
    }

    /// The same roster is at another version in a new term, in which none of the departures was.
    pub(super) fn set_version(&mut self, version: u64) {
        self.version = version;
        self.departures.iter_mut().for_each(|(led_to, _)| *led_to = version.min(*led_to));
    }

    fn insert(&mut self, member: Arc<Member>) {
        self.digest = self.digest.wrapping_add(pair(&member));
        self.strangers += usize::from(member.node.is_none());
        // Two with one number would hide each other.
        if let Some(other) = self.order.insert(member.number, member.hostname.clone()) {
            let number = self.next_number();
            self.order.insert(number, other);
        }
        self.members.insert(member.hostname.clone(), member);
    }

    fn remove(&mut self, hostname: &str) {
        let Some(member) = self.members.remove(hostname) else { return };
        self.digest = self.digest.wrapping_sub(pair(&member));
        self.strangers -= usize::from(member.node.is_none());
        if self.order.get(&member.number).is_some_and(|name| *name == member.hostname) {
            self.order.remove(&member.number);
        } else {
            self.order.retain(|_, name| *name != member.hostname);
        }
    }
}

fn pair(member: &Member) -> u64 {
    hash(member.hostname.bytes().chain([0]).chain(member.incarnation.to_le_bytes()))
}
