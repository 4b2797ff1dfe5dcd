//! Who waits for which task: what every store's `wait` is made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::TaskMeta;
use tokio::sync::{mpsc, watch};

use crate::{Error, ResultStore};

/// What a waiting call hears.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// Nothing yet: look when told to.
    #[cfg(feature = "redis")]
    Idle,
    /// Something may have changed: look.
    Check,
    /// The task is ready.
    #[cfg(feature = "redis")]
    Ready(Arc<TaskMeta>),
    /// There is no use in waiting.
    Failed(Error),
}

/// A task that is waited for now, or no longer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added(String),
    Removed(String),
}

/// The tasks that somebody waits for. Of several notices of a task only the latest is kept.
pub(crate) struct Watchers {
    by_id: Mutex<HashMap<String, watch::Sender<Notice>>>,
    first: Notice,
    changes: Option<mpsc::UnboundedSender<Change>>,
}

impl Watchers {
    /// Waiting calls look at once.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Watchers { by_id: Mutex::default(), first: Notice::Check, changes: None })
    }

    /// Waiting calls look when they are told to, by whoever gets the changes.
    #[cfg(feature = "redis")]
    pub(crate) fn with_changes() -> (Arc<Self>, mpsc::UnboundedReceiver<Change>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let watchers = Watchers { by_id: Mutex::default(), first: Notice::Idle, changes: Some(sender) };
        (Arc::new(watchers), receiver)
    }

    /// Listens for notices of a task.
    pub(crate) fn watch(self: &Arc<Self>, id: &str) -> Watch {
        let mut by_id = self.lock();
        let notices = match by_id.get(id) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(self.first.clone());
                by_id.insert(id.to_owned(), sender);
                self.changed(Change::Added(id.to_owned()));
                receiver
            }
        };
        Watch { id: id.to_owned(), notices, watchers: Arc::clone(self) }
    }

    /// Tells whoever waits for a task.
    pub(crate) fn notify(&self, id: &str, notice: Notice) {
        if let Some(sender) = self.lock().get(id) {
            sender.send_replace(notice);
        }
    }

    /// Tells everybody.
    pub(crate) fn notify_all(&self, notice: &Notice) {
        for sender in self.lock().values() {
            sender.send_replace(notice.clone());
        }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Notice>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with the lock held, so that changes of a task come in their order.
    fn changed(&self, change: Change) {
        if let Some(changes) = &self.changes {
            let _ = changes.send(change);
        }
    }
}

/// One waiting call. Dropping it ends the wait.
pub(crate) struct Watch {
    id: String,
    notices: watch::Receiver<Notice>,
    watchers: Arc<Watchers>,
}

impl Watch {
    /// Waits until the task is ready; `store` is asked whenever there is something to see.
    pub(crate) async fn ready(mut self, store: &dyn ResultStore) -> Result<TaskMeta, Error> {
        loop {
            let notice = self.notices.borrow_and_update().clone();
            match notice {
                #[cfg(feature = "redis")]
                Notice::Idle => {}
                #[cfg(feature = "redis")]
                Notice::Ready(meta) => return Ok(Arc::unwrap_or_clone(meta)),
                Notice::Failed(error) => return Err(error),
                Notice::Check => {
                    let meta = store.fetch(&self.id).await?;
                    if meta.state.is_ready() {
                        return Ok(meta);
                    }
                }
            }
            // The sender lives in the map for as long as this does.
            if self.notices.changed().await.is_err() {
                let reason = "nobody listens for results any more".to_owned();
                return Err(Error::Unavailable { store: store.display_url(), reason });
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut by_id = self.watchers.lock();
        if by_id.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            by_id.remove(&self.id);
            self.watchers.changed(Change::Removed(std::mem::take(&mut self.id)));
        }
    }
}
