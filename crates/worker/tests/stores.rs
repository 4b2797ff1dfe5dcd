//! A result store that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{State, TaskMeta, Value};
use celeriac_results::{Error, MemoryStore, ReplyTo, ResultStore, Retry};
use celeriac_worker::{Call, Shutdown, TaskOptions};

use crate::support::{Rig, task};

/// Refuses so many results, unless it may hold them.
struct Away {
    inner: Arc<MemoryStore>,
    times: AtomicU32,
}

#[async_trait]
impl ResultStore for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    fn display_url(&self) -> String {
        "away://".to_owned()
    }

    async fn store(&self, meta: &TaskMeta, reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        let left = self.times.fetch_update(Ordering::AcqRel, Ordering::Acquire, |times| times.checked_sub(1));
        match left {
            Ok(_) => Err(Error::Unavailable { store: self.display_url(), reason: "away".to_owned() }),
            Err(_) => self.inner.store(meta, reply_to).await,
        }
    }

    async fn hold(&self, meta: &TaskMeta, reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        self.inner.store(meta, reply_to).await
    }

    async fn expect(&self, id: &str) -> Result<(), Error> {
        self.inner.expect(id).await
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        self.inner.fetch(id).await
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.inner.wait(id).await
    }

    async fn forget(&self, id: &str) -> Result<(), Error> {
        self.inner.forget(id).await
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {}
}

/// What is acknowledged late waits for its result, and runs again when that was in vain; what was acknowledged before it
/// ran leaves its result with the store.
#[tokio::test]
async fn no_result_is_lost_while_the_store_is_away() {
    for (acks_late, fails, limit, times, expected) in [
        (true, false, None, 5, 1),
        (true, true, None, 5, 1),
        // Asked twice each time.
        (true, false, Some(1), 5, 3),
        (true, true, Some(1), 5, 3),
        (false, false, None, u32::MAX, 1),
        (false, true, None, u32::MAX, 1),
    ] {
        let runs = Arc::new(AtomicU32::new(0));
        let count = runs.clone();
        let mut rig = Rig::new().with(task("count", TaskOptions::default(), move |_, _| {
            let run = count.fetch_add(1, Ordering::AcqRel);
            async move {
                let failure = celeriac_worker::TaskError::new("ValueError", "it broke");
                if fails { Err(failure) } else { Ok(Value::from(run)) }
            }
        }));
        rig.settings.task_acks_late = acks_late;
        rig.settings.result_retry =
            Retry { limit, base: Duration::ZERO, max: Duration::ZERO, ..Retry::default() };
        let store = Away { inner: rig.store.clone(), times: AtomicU32::new(times) };
        let worker = rig.start_storing(Arc::new(store));
        rig.send("a", Call::new("count", Vec::new())).await;
        let meta = rig.result("a").await;
        assert_eq!(meta.state, if fails { State::Failure } else { State::Success });
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!(runs.load(Ordering::Acquire), expected, "{acks_late} {fails} {limit:?}");
        assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0));
    }
}
