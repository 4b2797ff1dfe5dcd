//! What workers say on the cluster's exchange.
//!
//! A message is one JSON dict whose `type` is the first word of the table. Nodes and digests are 16 hexadecimal digits.
//!
//! | message | key | from, to | says |
//! |---|---|---|---|
//! | `beat` | `all.beat`; `node.<id>` as an answer | lead, all | who leads, term, version, size and digest of the roster, watchers |
//! | `change` | `all.change` | lead, all | who joined, left and was lost, in order, and the version that this leads to |
//! | `snapshot` | `node.<id>`; `all.change` when many ask | lead, who asked | the roster, and the last departures |
//! | `snapshot` | `node.<id>` | a lead that yields, the winner | the same |
//! | `ask` | `node.<id>` | all, lead | send a snapshot, please |
//! | `probe` | `lead`, mandatory | all, lead | are you there? The answer is a beat |
//! | `compare` | `node.<id>`; `lead`, `watchers` at the start | all, lead or a watcher | digests of our revokes, by bucket |
//! | `revokes` | `node.<id>`; `all.change` when many ask | lead or a watcher, who asked | the revokes of buckets that differ, in pages |
//! | `delta` | `node.<id>`, `lead`; `all.change` | all, lead; lead, all | revokes that were not known there |
//! | `stand` | `lead` | candidate, lead | a candidacy |
//! | `elected` | `all.change`; `node.<id>` as an answer | lead, all | who won |

use std::sync::Arc;

use celeriac_protocol::Value;
use celeriac_protocol::codec::Accept;

use super::roster::Member;

mod codec;

/// What is read of the exchange: no more than 8 MiB, be it compressed.
pub fn accept() -> Accept {
    let mut accept = Accept::default();
    accept.max_size = 8 << 20;
    accept
}

/// The most members that a roster may have; those that come past it are not taken in.
pub const MAX_MEMBERS: usize = 20_000;
/// The most departures that a snapshot tells.
pub const MAX_DEPARTURES: usize = 100;
/// The most watchers.
pub const MAX_WATCHERS: usize = 16;
/// The most ids of a page of revokes.
pub const PAGE: usize = 1_000;
/// Into how many buckets revokes are sorted for their digests.
pub const BUCKETS: usize = 64;
/// The most bytes of a hostname.
pub const MAX_HOSTNAME: usize = 255;
/// The most bytes of the id of a task or an election, and of a topic.
pub(super) const MAX_ID: usize = 1024;
/// The largest logical clock: one beyond it counts as this, so that a clock that was driven up to here by a forged
/// message can still be told.
pub(super) const MAX_CLOCK: u64 = 1 << 62;
/// The largest term, version, number or sequence that is believed: 2^53.
pub const MAX_COUNT: u64 = 1 << 53;

/// A worker's random name on the cluster's exchange, new at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Reads what [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = text.len() == 16 && text.bytes().all(is_hex);
        fits.then(|| u64::from_str_radix(text, 16).ok().map(NodeId)).flatten()
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// What a mailbox is bound to for all that is for all: one binding, since a broker makes them one after the other.
pub const ALL: &str = "all.*";

/// A routing key of the cluster's exchange. Each has one group of readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// All.
    Beat,
    /// All.
    Change,
    /// The lead.
    Lead,
    /// All watchers.
    Watchers,
    /// That one.
    Node(NodeId),
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Beat => formatter.write_str("all.beat"),
            Key::Change => formatter.write_str("all.change"),
            Key::Lead => formatter.write_str("lead"),
            Key::Watchers => formatter.write_str("watchers"),
            Key::Node(node) => write!(formatter, "node.{node}"),
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The lead lives.
    Beat(Beat),
    /// The roster changes.
    Change(Change),
    /// The whole roster.
    Snapshot(Snapshot),
    /// Somebody misses something of the roster.
    Ask {
        /// Who.
        node: NodeId,
    },
    /// Somebody has not heard the lead.
    Probe {
        /// Who.
        node: NodeId,
    },
    /// Somebody compares its revokes with the lead's.
    Compare(Compare),
    /// The answer to it.
    Revokes(Revokes),
    /// Revokes that may be new.
    Delta {
        /// Each with its age in seconds.
        ids: Vec<(String, f64)>,
    },
    /// Somebody stands for an election.
    Stand(Stand),
    /// An election is decided.
    Elected(Elected),
}

/// The lead lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat {
    /// The lead.
    pub node: NodeId,
    /// Its hostname.
    pub hostname: Arc<str>,
    /// Its term.
    pub term: u64,
    /// Counts the beats of this node, from 1.
    pub seq: u64,
    /// Seconds between its beats.
    pub interval: f64,
    /// The version of its roster.
    pub version: u64,
    /// How many members that has.
    pub size: usize,
    /// [`Roster::digest`](super::roster::Roster::digest).
    pub digest: u64,
    /// Who watches: the lead, then those that follow it.
    pub watchers: Vec<NodeId>,
    /// It has heard for long enough to know who is there.
    pub sure: bool,
    /// The digest of its revokes.
    pub revoked: u64,
    /// Its logical clock.
    pub clock: u64,
}

/// The roster changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The lead.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
    /// The version of the roster after all of them; each raises it by one.
    pub version: u64,
    /// In their order; never empty.
    pub steps: Vec<Happening>,
}

/// What happened to one member.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// It joined, or came back under its name with another incarnation or number.
    Joined(Arc<Member>),
    /// It went.
    Gone(Departure),
}

/// A member that is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Departure {
    /// Its hostname.
    pub hostname: Arc<str>,
    /// Its incarnation.
    pub incarnation: u64,
    /// Why.
    pub reason: Reason,
}

/// Why a member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It said so.
    Left,
    /// It was not heard any more.
    Lost,
}

/// The whole roster.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The lead, or who was it until now.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
    /// The version of the roster.
    pub version: u64,
    /// In the order of their numbers.
    pub members: Vec<Arc<Member>>,
    /// The last departures, oldest first, each with the version that it led to.
    pub departures: Vec<(u64, Departure)>,
}

/// Somebody compares its revokes with the lead's.
#[derive(Debug, Clone, PartialEq)]
pub struct Compare {
    /// Who.
    pub node: NodeId,
    /// It starts, and waits for an answer of its own.
    pub starts: bool,
    /// The digest of each bucket; [`BUCKETS`] of them.
    pub buckets: Vec<u64>,
    /// Its logical clock.
    pub clock: u64,
}

/// The revokes of the buckets that differ: the answer to [`Compare`], in one page at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Revokes {
    /// The buckets that differ, of which the pages hold all ids; the same in each page.
    pub buckets: Vec<usize>,
    /// Each with its age in seconds; at most [`PAGE`].
    pub ids: Vec<(String, f64)>,
    /// Nothing follows.
    pub last: bool,
    /// Whether members are known that do not listen here: Python's, and celeriac's with another gossip.
    pub strangers: bool,
    /// The logical clock of who answers.
    pub clock: u64,
}

/// Somebody stands for an election.
#[derive(Debug, Clone, PartialEq)]
pub struct Stand {
    /// Who.
    pub node: NodeId,
    /// The election.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// The candidate's logical clock when it stood: the lowest wins.
    pub clock: u64,
    /// `HOSTNAME.PID`, by which ties are broken.
    pub name: String,
    /// It stood in an earlier election of this id, which is decided.
    pub again: bool,
}

/// An election is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Elected {
    /// The lead.
    pub node: NodeId,
    /// The election.
    pub id: String,
    /// The winner: `HOSTNAME.PID`.
    pub leader: String,
    /// The lead's logical clock when it was decided.
    pub clock: u64,
}

/// A message that is none; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a dict.
    #[error("a cluster message must be dict, not {0}")]
    NoDict(&'static str),
    /// A type that is not known here, perhaps a later version's.
    #[error("a cluster message of an unknown type")]
    Unknown,
    /// A field is absent, of another type, or out of its bounds.
    #[error("{kind} has no good {field}")]
    Field {
        /// The message.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// How many members make a roster large.
const LARGE: usize = 50;

impl Message {
    /// The word of its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Beat(_) => "beat",
            Message::Change(_) => "change",
            Message::Snapshot(_) => "snapshot",
            Message::Ask { .. } => "ask",
            Message::Probe { .. } => "probe",
            Message::Compare(_) => "compare",
            Message::Revokes(_) => "revokes",
            Message::Delta { .. } => "delta",
            Message::Stand(_) => "stand",
            Message::Elected(_) => "elected",
        }
    }

    /// Whether it is worth compressing: it tells of many, and goes to as many.
    pub fn is_large(&self) -> bool {
        match self {
            Message::Snapshot(snapshot) => snapshot.members.len() > LARGE,
            Message::Change(change) => change.steps.len() > LARGE,
            _ => false,
        }
    }

    /// The dict that travels.
    pub fn to_value(&self) -> Value {
        codec::to_value(self)
    }

    /// Reads a decoded body. Keys that are not known are passed over.
    ///
    /// # Errors
    /// When something that must be there is not, or is out of its bounds.
    pub fn read(value: &Value) -> Result<Self, MessageError> {
        codec::read(value)
    }
}
