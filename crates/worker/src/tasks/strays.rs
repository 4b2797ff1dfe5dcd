//! What runs though the connection that it came by is gone: it takes places that nobody else may have.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::acks::Acks;
use crate::consumer::lock;

/// The sessions that are gone and of which something still runs. Only those in which what runs keeps its place.
#[derive(Default)]
pub(super) struct Strays {
    sessions: Mutex<Vec<Arc<Acks>>>,
    /// Told when one has ended.
    pub(super) freed: Arc<Notify>,
}

impl Strays {
    /// Has what is left of a session that is gone count.
    pub(super) fn add(&self, acks: Arc<Acks>) {
        if acks.keeps_places() {
            lock(&self.sessions).push(acks);
        }
    }

    /// How many still run.
    pub(super) fn count(&self) -> usize {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|acks| acks.held() > 0);
        sessions.iter().map(|acks| acks.held()).sum()
    }
}
