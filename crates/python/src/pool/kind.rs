//! The pools there are.

/// What the tasks of a pool run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Forked processes, one task at a time in each.
    Prefork,
    /// The same, each with an interpreter of its own.
    Spawn,
    /// One process, one task at a time.
    Solo,
    /// The threads of one process.
    Threads,
    /// The event loop of one process.
    Asyncio,
}

impl Kind {
    /// The pool that the app's process reports by this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "prefork" => Kind::Prefork,
            "spawn" => Kind::Spawn,
            "solo" => Kind::Solo,
            "threads" => Kind::Threads,
            "asyncio" => Kind::Asyncio,
            _ => return None,
        })
    }

    /// Whether time limits and a revoke that terminates end its tasks: nobody can stop a thread.
    pub fn ends_tasks(self) -> bool {
        self != Kind::Threads
    }

    /// Whether one child runs all tasks.
    pub(super) fn is_shared(self) -> bool {
        matches!(self, Kind::Threads | Kind::Asyncio)
    }

    /// How far it can be resized.
    pub(super) fn most(self) -> usize {
        if self == Kind::Solo { 1 } else { usize::MAX }
    }

    /// What it is called in `inspect stats`.
    pub(super) fn implementation(self) -> &'static str {
        match self {
            Kind::Prefork => "celery.concurrency.prefork:TaskPool",
            Kind::Spawn => "celeriac:spawn",
            Kind::Solo => "celery.concurrency.solo:TaskPool",
            Kind::Threads => "celery.concurrency.thread:TaskPool",
            Kind::Asyncio => "celeriac:asyncio",
        }
    }

    /// What its processes are called in logs.
    pub(super) fn process(self, number: u64) -> String {
        match self {
            Kind::Prefork => format!("ForkPoolWorker-{number}"),
            Kind::Spawn => format!("SpawnPoolWorker-{number}"),
            Kind::Solo | Kind::Threads | Kind::Asyncio => "MainProcess".to_owned(),
        }
    }
}
