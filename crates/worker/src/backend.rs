//! What the worker itself decides of a task, and who stores it.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{Map, State, TaskMessage, TaskMeta, repr, time};
use celeriac_results::{Error, ResultStore};
use chrono::Utc;

use crate::request::{self, Origin, Request};
use crate::revokes::Revocation;
use crate::tasks::tell_unregistered;
use crate::trace::Tracer;

/// Stores what the worker itself decides of a task, and tells of it: what Celery's main process does by
/// `task.backend`. Where tasks are Python's, only Python can.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Lets go of a request that is not to run any more: stores it as revoked, tells it, and acknowledges it.
    async fn discard(&self, request: Box<Request>, revocation: Revocation);

    /// Tells the log, monitors and the result store of a task that is not known here; its delivery is rejected by the caller.
    async fn unregistered(&self, message: &TaskMessage, origin: &Origin);

    /// Stores a task as revoked of which nobody else tells. Fails when the store does.
    async fn mark_revoked(&self, id: &str) -> Result<(), String>;
}

#[async_trait]
impl Backend for Tracer {
    async fn discard(&self, mut request: Box<Request>, revocation: Revocation) {
        let facts = request.facts.clone();
        revocation.tell(&facts, &self.counters);
        self.announce_revoked(&facts, revocation.state(), None, revocation.is_expired()).await;
        request.ack();
    }

    /// `celery/worker/consumer/consumer.py`, `on_unknown_task`.
    async fn unregistered(&self, message: &TaskMessage, _: &Origin) {
        tell_unregistered(message);
        let headers = &message.headers;
        let name = repr::value(&headers.task.as_str().into());
        let told =
            [("uuid", headers.id.as_str().into()), ("exception", format!("NotRegistered({name})").into())];
        self.events.send("task-failed", Map::from_iter(told));
        if headers.ignore_result {
            return;
        }
        let exception = Exception::new("NotRegistered", "celery.exceptions", name);
        let meta = TaskMeta::failure(&headers.id, exception, None);
        self.store(meta, headers, &request::reply_to(headers, &message.properties), true).await;
    }

    async fn mark_revoked(&self, id: &str) -> Result<(), String> {
        mark_revoked(&self.store, id).await.map_err(|error| error.to_string())
    }
}

/// A task that is done keeps its result, and one that runs is its worker's to tell of (Celery 5.7; 5.6 marks them all).
fn may_be_marked(state: &State) -> bool {
    matches!(state, State::Pending | State::Received | State::Retry | State::Rejected)
}

pub(crate) async fn mark_revoked(store: &Arc<dyn ResultStore>, id: &str) -> Result<(), Error> {
    if !may_be_marked(&store.fetch(id).await?.state) {
        return Ok(());
    }
    let mut meta = TaskMeta::revoked(id, "revoked");
    meta.date_done = Some(time::iso(Utc::now()));
    store.store(&meta, None).await
}
