use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker has done since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Task messages that were understood.
    pub received: Counter,
    /// Tasks that were started; with a statedb, since that was made.
    pub started: Counter,
    /// Tasks that returned a value.
    pub succeeded: Counter,
    /// Tasks that failed, timed out or did not get fitting arguments.
    pub failed: Counter,
    /// Tasks that are to be run again.
    pub retried: Counter,
    /// Tasks that expired before they ran.
    pub expired: Counter,
    /// Tasks that were revoked before they ran, or while they did.
    pub revoked: Counter,
    /// Tasks that rejected their message or ignored their outcome.
    pub rejected: Counter,
    /// Messages of tasks that are not registered here.
    pub unregistered: Counter,
    /// Messages that could not be understood.
    pub invalid: Counter,
    /// Remote control requests that could not be understood or carried out.
    pub invalid_control: Counter,
    /// Events of other workers that could not be understood.
    pub invalid_events: Counter,
    /// Messages of the cluster's exchange that could not be understood or believed, or were over.
    pub ignored_cluster: Counter,
    /// Messages to the cluster's exchange that were dropped because too many waited for the broker, or too long.
    pub cluster_dropped: Counter,
    /// Events of ours that were dropped because too many waited for the broker.
    pub events_dropped: Counter,
}

/// Names every counter; one that is forgotten does not compile.
macro_rules! counters {
    ($($counter:ident),* $(,)?) => {
        impl Counters {
            /// All of them, by name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let Counters { $($counter),* } = self;
                [$((stringify!($counter), $counter.value())),*].into_iter()
            }
        }
    };
}

counters![
    received,
    started,
    succeeded,
    failed,
    retried,
    expired,
    revoked,
    rejected,
    unregistered,
    invalid,
    invalid_control,
    invalid_events,
    ignored_cluster,
    cluster_dropped,
    events_dropped,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }
}
