use std::time::Duration;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The server itself.
    pub server: Server,
    /// Whether nobody else is connected to this database.
    pub alone: bool,
    /// All queues that are declared or have messages, by name.
    pub queues: Vec<QueueState>,
    /// Who holds messages.
    pub holders: Vec<Holder>,
    /// By exchange, how many bindings there are, and how many of them are Celery's transient queues of Python's making.
    pub bindings: Vec<(String, u64, u64)>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Some of it was too much to be shown.
    pub is_partial: bool,
}

/// A server.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// The memory that it uses, in bytes.
    pub used_memory: u64,
    /// `maxmemory-policy`.
    pub policy: String,
    /// Whether it has an append-only file.
    pub has_aof: bool,
}

/// A queue.
#[derive(Debug, Clone)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Its length in each step of priority, in the order in which they are served; `None` where a key is no list.
    pub lengths: Vec<(u8, Option<u64>)>,
    /// How many sessions of celeriac's consume it.
    pub consumers: u64,
}

/// Who holds messages.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The name of a celeriac connection; `None` for all of Python's workers together.
    pub owner: Option<String>,
    /// Whether it lives.
    pub life: Life,
    /// How many messages it holds.
    pub held: u64,
    /// How long ago the oldest lease was taken, or renewed.
    pub oldest: Duration,
}

/// Whether somebody lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It gives signs of life.
    Alive,
    /// It gives none any more.
    Dead,
    /// Python's workers give none.
    Unknown,
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What, in a line.
    pub text: String,
    /// What mends it for certain.
    pub remedy: Option<Remedy>,
}

/// What mends a finding without any doubt.
#[derive(Debug, Clone)]
pub struct Remedy(pub(super) Mend);

#[derive(Debug, Clone)]
pub(super) enum Mend {
    /// Give back what a dead owner held, who was last seen then.
    Bury { owner: String, seen: String },
    /// Give back what is held by nobody who is known.
    GiveBack(String),
    /// Take away what went with an owner who is not known.
    Leave(String),
    /// Look at a queue again, and take away what nobody has.
    Queue(String),
    /// Take away the bindings of a queue that there is not.
    Bound(String),
    /// Give leases a time, so that somebody gives them back.
    Time(Vec<String>),
    /// Take members out of a table of bindings.
    Bindings { exchange: String, members: Vec<String> },
}

impl Report {
    pub(super) fn find(&mut self, text: impl Into<String>, remedy: Option<Mend>) {
        if self.findings.len() >= super::MOST {
            self.is_partial = true;
            return;
        }
        self.findings.push(Finding { text: text.into(), remedy: remedy.map(Remedy) });
    }
}
