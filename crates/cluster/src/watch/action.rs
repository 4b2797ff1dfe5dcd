use std::sync::Arc;

use celeriac_protocol::{Event, Map, Value};

use super::message::{Beat, Key, Message};
use super::roster::Member;
use crate::state::Drift;

/// What happens to a worker that gossips.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// The mailbox is open: at the start, and again after each loss of the broker. With the last beat that has come
    /// already, if any.
    Connected(Option<&'a Beat>),
    /// The events of all workers are heard from now on, as [`Action::Listen`] asked for.
    Listening,
    /// An event of a worker has come; our own ones, too.
    Event(&'a Event),
    /// A message of the cluster's exchange has come.
    Message(&'a Message),
    /// Nobody has the key of a message that was mandatory.
    Returned,
    /// Somebody has it: the broker has taken the message.
    Accepted,
    /// The broker takes messages again, of which one had waited for more than a second.
    Unblocked,
    /// [`Watch::next_timeout`](super::Watch::next_timeout) has come.
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
    /// We go, or come back on another connection: the last that is said on this one.
    Leaving,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell that a worker `joined the party`.
    Joined(Arc<Member>),
    /// Tell that a worker `left`.
    Left(Arc<Member>),
    /// Tell that we `missed heartbeat from` a worker.
    Lost(Arc<Member>),
    /// Warn that a worker's clock differs from ours.
    Drifted(Drift),
    /// Warn that two workers have one name; told once for each.
    Twins(Arc<str>),
    /// Warn that there are more workers than a roster may have; told once.
    Crowded {
        /// How many that is.
        limit: usize,
    },
    /// Ask everybody for revokes, since there are workers that do not compare theirs with the lead's.
    Greet,
    /// Say who leads from now on.
    Follows {
        /// The lead's hostname; ours when we lead.
        lead: Arc<str>,
        /// Its term.
        term: u64,
    },
    /// Hear from now on by these keys and queues, and by no others beside our own mailbox.
    Listen(Ears),
    /// Publish a message. When it is mandatory, say by [`Input::Returned`] or [`Input::Accepted`] what came of it.
    Send {
        /// By which key.
        key: Key,
        /// What.
        message: Arc<Message>,
        /// Whether we must know if nobody has that key.
        mandatory: bool,
    },
    /// Publish an event, perhaps in another worker's name.
    Publish {
        /// In whose.
        hostname: Arc<str>,
        /// With which process id.
        pid: Option<i64>,
        /// With which clock; our own, ticked, when absent.
        clock: Option<u64>,
        /// Its type.
        kind: &'static str,
        /// Its fields.
        fields: Map,
    },
    /// Publish our `worker-online` again: the others think that we are gone.
    Announce,
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
    /// Something was ignored: count it.
    Ignored(WatchError),
}

/// What we hear beside our own mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ears {
    /// The events `worker.#` of all workers.
    pub events: bool,
    /// The key `watchers`.
    pub watchers: bool,
    /// The key `lead`.
    pub lead: bool,
}

/// A message that was ignored; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It is of an earlier term, or was heard before.
    #[error("{0} that is over")]
    Stale(&'static str),
    /// It says what only the lead may, and its sender is not the lead, nor anybody that may become it.
    #[error("{0} of a node that does not lead")]
    Stranger(&'static str),
    /// Its term is more than 1,000 ahead.
    #[error("a term that is too far ahead: {0}")]
    Term(u64),
    /// A field of an event is absent or wrong.
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
    /// There are too many elections that are not decided.
    #[error("too many elections are not decided")]
    TooManyElections,
}

/// What a worker knows of its cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The lead's hostname, while there is one.
    pub lead: Option<Arc<str>>,
    /// Whether we are the lead.
    pub leads: bool,
    /// The term.
    pub term: u64,
    /// The version of the roster.
    pub version: u64,
    /// Its digest.
    pub digest: u64,
    /// Who watches, by hostname, the lead first.
    pub watchers: Vec<Arc<str>>,
    /// How many members the roster has, ourselves included.
    pub size: usize,
}
