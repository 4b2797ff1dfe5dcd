//! A result store that is away.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Signature, State, TaskMeta, Value};
use celeriac_results::{ChordHeader, ChordPart, Error, MemoryStore, ReplyTo, ResultStore, Retry};
use celeriac_worker::{Call, Shutdown, TaskOptions};

use crate::support::{Rig, echo, failure, ints, task};

/// Refuses so many results, unless it may hold them, and so many parts of chords.
struct Away {
    inner: Arc<MemoryStore>,
    times: AtomicU32,
    parts: AtomicU32,
    /// What it was told of each part.
    again: Arc<Mutex<Vec<bool>>>,
}

impl Away {
    fn new(inner: Arc<MemoryStore>) -> Self {
        Away { inner, times: AtomicU32::new(0), parts: AtomicU32::new(0), again: Arc::default() }
    }

    fn answers(&self, times: &AtomicU32) -> Result<(), Error> {
        let left = times.fetch_update(Ordering::AcqRel, Ordering::Acquire, |times| times.checked_sub(1));
        let away = || Error::Unavailable { store: self.display_url(), reason: "away".to_owned() };
        if left.is_ok() { Err(away()) } else { Ok(()) }
    }
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
        self.answers(&self.times)?;
        self.inner.store(meta, reply_to).await
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

    async fn chord_part(&self, part: &ChordPart<'_>) -> Result<Option<ChordHeader>, Error> {
        self.again.lock().unwrap().push(part.again);
        self.answers(&self.parts)?;
        self.inner.chord_part(part).await
    }

    async fn chord_done(&self, group: &str) -> Result<(), Error> {
        self.inner.chord_done(group).await
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
        let store = Away { times: AtomicU32::new(times), ..Away::new(rig.store.clone()) };
        let worker = rig.start_storing(Arc::new(store));
        rig.send("a", Call::new("count", Vec::new())).await;
        let meta = rig.result("a").await;
        assert_eq!(meta.state, if fails { State::Failure } else { State::Success });
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!(runs.load(Ordering::Acquire), expected, "{acks_late} {fails} {limit:?}");
        assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0));
    }
}

/// A part that cannot be counted runs again if it may; if not, nobody waits for its chord in vain.
#[tokio::test]
async fn no_part_of_a_chord_is_lost_while_the_store_is_away() {
    for (acks_late, fails, limit, parts, expected, again) in [
        (true, false, None, 2, 1, &[false, true, true][..]),
        (false, true, None, 2, 1, &[false, true, true]),
        // Asked twice each time.
        (true, false, Some(1), 3, 2, &[false, true, true, true]),
        (true, true, Some(1), 3, 2, &[false, true, true, true]),
        (false, false, Some(1), u32::MAX, 1, &[false, true]),
        (false, true, Some(1), u32::MAX, 1, &[false, true]),
    ] {
        let runs = Arc::new(AtomicU32::new(0));
        let count = runs.clone();
        let part = task("part", TaskOptions::default(), move |_, _| {
            count.fetch_add(1, Ordering::AcqRel);
            let failure = celeriac_worker::TaskError::new("ValueError", "it broke");
            async move { if fails { Err(failure) } else { Ok(Value::from(7)) } }
        });
        let mut rig = Rig::new().with(part).with(echo());
        rig.settings.task_acks_late = acks_late;
        rig.settings.result_retry =
            Retry { limit, base: Duration::ZERO, max: Duration::ZERO, ..Retry::default() };
        let store = Away { parts: AtomicU32::new(parts), ..Away::new(rig.store.clone()) };
        let told = store.again.clone();
        let worker = rig.start_storing(Arc::new(store));
        rig.store.set_chord_size("g", 1).await.unwrap();
        let signature = |id: &str| Signature {
            options: [("task_id", id.into())].into_iter().collect(),
            ..Signature::new("echo", Vec::new())
        };
        let mut body = signature("body");
        body.options.insert("link_error", vec![signature("errback").into_value()]);
        let mut call = Call::new("part", Vec::new());
        call.options.group_id = Some("g".to_owned());
        call.embed.chord = Some(body);
        rig.send("a", call).await;
        let meta = rig.result("body").await;
        let case = format!("{acks_late} {fails} {limit:?}");
        if parts == u32::MAX || fails {
            let (kind, text) = failure(&meta);
            assert_eq!(kind, "ChordError", "{case}");
            assert_eq!(text.contains("away"), parts == u32::MAX, "{case}: {text}");
            assert_eq!(rig.result("errback").await.result, "body".into(), "{case}");
        } else {
            assert_eq!(meta.result, ints(&[7]).into(), "{case}");
        }
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!(runs.load(Ordering::Acquire), expected, "{case}");
        assert_eq!(*told.lock().unwrap(), again, "{case}");
        assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0), "{case}");
    }
}
