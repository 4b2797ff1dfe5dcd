//! How a worker is told to end.

use std::sync::Arc;

use tokio::sync::watch;

/// How a worker is to end; a later value is the stronger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Shutdown {
    /// Not at all.
    #[default]
    No,
    /// Take no more tasks, finish those that run.
    Warm,
    /// Cancel those that run, once `worker_soft_shutdown_timeout` is over.
    Cold,
    /// Cancel them now.
    Now,
}

/// Tells a worker to end; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ShutdownHandle(Arc<watch::Sender<Shutdown>>);

impl ShutdownHandle {
    /// Asks for a shutdown; asking for a weaker one than before changes nothing.
    pub fn request(&self, shutdown: Shutdown) {
        self.0.send_if_modified(|current| {
            let stronger = shutdown > *current;
            *current = shutdown.max(*current);
            stronger
        });
    }

    /// What was asked for so far.
    pub fn current(&self) -> Shutdown {
        *self.0.borrow()
    }

    /// Waits until at least this was asked for.
    pub async fn reached(&self, shutdown: Shutdown) {
        let mut changes = self.0.subscribe();
        // The sender lives in `self`: the wait can only end well.
        let _ = changes.wait_for(|current| *current >= shutdown).await;
    }
}
