use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{State, TaskMeta};
use celeriac_results::{Error, MemoryStore, ReplyTo, ResultStore, Settings};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::*;
use crate::backend::mark_revoked;

/// A store that is away until its gate opens.
struct Away {
    open: watch::Receiver<bool>,
    asked: AtomicUsize,
    stored: AtomicUsize,
}

#[async_trait]
impl ResultStore for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    fn display_url(&self) -> String {
        "away://".to_owned()
    }

    async fn store(&self, _: &TaskMeta, _: Option<&ReplyTo>) -> Result<(), Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _ = self.open.clone().wait_for(|open| *open).await;
        self.stored.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn expect(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        Ok(TaskMeta::pending(id))
    }

    async fn wait(&self, _: &str) -> Result<TaskMeta, Error> {
        std::future::pending().await
    }

    async fn forget(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {}
}

async fn until(what: impl Fn() -> bool) {
    let look = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap();
}

fn marking(
    store: &Arc<dyn ResultStore>,
) -> impl Fn(String) -> BoxFuture<'static, Result<(), String>> + use<> {
    let store = store.clone();
    move |id| {
        let store = store.clone();
        async move { mark_revoked(&store, &id).await.map_err(|error| error.to_string()) }.boxed()
    }
}

#[tokio::test]
async fn what_a_store_that_is_away_has_to_be_told_waits_within_bounds() {
    let (gate, open) = watch::channel(false);
    let away = Arc::new(Away { open, asked: AtomicUsize::new(0), stored: AtomicUsize::new(0) });
    let store: Arc<dyn ResultStore> = away.clone();
    let marks = Marks::default();
    let mark = |ids| marks.store(ids, marking(&store));
    let stored = || away.stored.load(Ordering::Relaxed);
    mark((0..WAITING).map(|id| id.to_string()).collect());
    mark(vec!["one too many".to_owned()]);
    until(|| away.asked.load(Ordering::Relaxed) == AT_ONCE).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((away.asked.load(Ordering::Relaxed), stored()), (AT_ONCE, 0));
    gate.send_replace(true);
    until(|| stored() == WAITING && marks.0.available_permits() == WAITING).await;
    mark(vec!["later".to_owned()]);
    until(|| stored() == WAITING + 1).await;
}

#[tokio::test]
async fn a_revoke_spares_the_results_of_what_is_done_or_runs() {
    let store: Arc<dyn ResultStore> = Arc::new(MemoryStore::new(Settings::default()));
    let failure = Exception::new("ValueError", "builtins", "it broke");
    let known = [
        TaskMeta::success("done", Value::Int(1)),
        TaskMeta::failure("failed", failure, None),
        TaskMeta::started("runs", 1, "w1@test"),
    ];
    for meta in &known {
        store.store(meta, None).await.unwrap();
    }
    let marks = Marks::default();
    marks.store(["done", "failed", "runs", "unknown"].map(str::to_owned).to_vec(), marking(&store));
    until(|| marks.0.available_permits() == WAITING).await;
    let mut states = Vec::new();
    for id in ["done", "failed", "runs", "unknown"] {
        states.push(store.fetch(id).await.unwrap().state);
    }
    assert_eq!(states, [State::Success, State::Failure, State::Started, State::Revoked]);
}
