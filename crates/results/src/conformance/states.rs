//! Which states follow which, and how long they stay.

use std::time::Duration;

use celeriac_protocol::result::Exception;
use celeriac_protocol::{State, TaskMeta};

use super::{DEADLINE, Fixture, id};
use crate::{Error, Settings};

fn error(text: &str) -> Exception {
    Exception::new("ValueError", "builtins", text)
}

/// A task that nobody stored anything of is pending.
pub async fn unknown_ids_are_pending(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let id = id();
    assert_eq!(stores.caller.fetch(&id).await.unwrap(), TaskMeta::pending(&id));
    stores.caller.expect(&id).await.unwrap();
    assert_eq!(stores.caller.fetch(&id).await.unwrap(), TaskMeta::pending(&id));
    stores.close().await;
}

/// The life of a task is seen state by state.
pub async fn states_follow_each_other(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let id = id();
    stores.caller.expect(&id).await.unwrap();
    for meta in [
        TaskMeta { state: State::Received, ..TaskMeta::pending(&id) },
        TaskMeta::started(&id, 7, "w1@host"),
        TaskMeta::retry(&id, error("again"), Some("Traceback".to_owned())),
        TaskMeta { state: State::Custom("PROGRESS".to_owned()), result: 50.into(), ..TaskMeta::pending(&id) },
        TaskMeta::success(&id, 4),
    ] {
        stores.store(&meta).await.unwrap();
        let seen = stores.fetch_until(&id, |seen| seen.state == meta.state).await;
        assert_eq!(seen, meta);
    }
    stores.close().await;
}

/// What a lost worker's task stores later does not replace a success.
pub async fn a_success_is_not_replaced(fixture: &dyn Fixture) {
    for serializer in ["json", "msgpack", "yaml"] {
        let stores = fixture.open(super::settings(serializer)).await;
        let (id, last) = (id(), id());
        stores.caller.expect(&id).await.unwrap();
        stores.caller.expect(&last).await.unwrap();
        let success = TaskMeta::success(&id, "first");
        stores.store(&success).await.unwrap();
        stores.store(&TaskMeta::failure(&id, error("late"), None)).await.unwrap();
        stores.store(&TaskMeta::success(&id, "second")).await.unwrap();
        // All that was stored before this has been seen when this is.
        stores.store(&TaskMeta::success(&last, 0)).await.unwrap();
        stores.wait(&last).await;
        assert_eq!(stores.wait(&id).await, success, "{serializer}");
        stores.close().await;
    }
}

/// A failure is not final: the task may have been delivered again and succeed. That its result looks like a
/// success changes nothing.
pub async fn a_failure_is_replaced(fixture: &dyn Fixture) {
    for serializer in ["json", "msgpack", "yaml"] {
        let stores = fixture.open(super::settings(serializer)).await;
        let id = id();
        stores.caller.expect(&id).await.unwrap();
        let lookalike = "\nstatus: SUCCESS\n {\"status\": \"SUCCESS\"} \u{a6}status\u{a7}SUCCESS";
        stores.store(&TaskMeta::failure(&id, error(lookalike), None)).await.unwrap();
        assert_eq!(stores.wait(&id).await.exception(), Some(error(lookalike)));
        let state = State::Custom("SUCCESSION".to_owned());
        stores.store(&TaskMeta { state: state.clone(), ..TaskMeta::pending(&id) }).await.unwrap();
        stores.fetch_until(&id, |seen| seen.state == state).await;
        stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
        let seen = stores.fetch_until(&id, |seen| seen.state == State::Success).await;
        assert_eq!(seen, TaskMeta::success(&id, 1), "{serializer}");
        stores.close().await;
    }
}

/// The message of a retry is sent before its state is stored: that may come after the end of the next attempt.
pub async fn a_retry_replaces_no_end(fixture: &dyn Fixture) {
    for serializer in ["json", "msgpack", "yaml"] {
        let stores = fixture.open(super::settings(serializer)).await;
        for end in [
            |id: &str| TaskMeta::failure(id, error("it broke"), None),
            |id: &str| TaskMeta::revoked(id, "revoked"),
        ] {
            let (end, last) = (end(&id()), id());
            stores.caller.expect(&end.id).await.unwrap();
            stores.caller.expect(&last).await.unwrap();
            stores.store(&end).await.unwrap();
            stores.store(&TaskMeta::retry(&end.id, error("again"), None)).await.unwrap();
            // All that was stored before this has been seen when this is.
            stores.store(&TaskMeta::success(&last, 0)).await.unwrap();
            stores.wait(&last).await;
            assert_eq!(stores.caller.fetch(&end.id).await.unwrap(), end, "{serializer}");
        }
        stores.close().await;
    }
}

/// Forgetting drops what is kept; forgetting what is unknown is no error.
pub async fn forgotten_results_are_pending(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let id = id();
    stores.caller.expect(&id).await.unwrap();
    stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
    stores.wait(&id).await;
    stores.caller.forget(&id).await.unwrap();
    stores.caller.forget(&id).await.unwrap();
    assert_eq!(stores.caller.fetch(&id).await.unwrap(), TaskMeta::pending(&id));
    stores.close().await;
}

/// A result goes when its time is over, and another may then take its place.
pub async fn results_expire(fixture: &dyn Fixture) {
    let settings = Settings { expires: Some(Duration::from_millis(900)), ..Settings::default() };
    let stores = fixture.open(settings).await;
    if stores.replies() {
        return stores.close().await;
    }
    let id = id();
    stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
    stores.fetch_until(&id, |seen| seen.state == State::Pending).await;
    stores.store(&TaskMeta::success(&id, 2)).await.unwrap();
    assert_eq!(stores.wait(&id).await, TaskMeta::success(&id, 2));
    stores.close().await;
}

/// No expiry, said either way, and an expiry beyond all clocks are taken.
pub async fn results_without_expiry_stay(fixture: &dyn Fixture) {
    for expires in [None, Some(Duration::ZERO), Some(Duration::from_secs(100 * 365 * 86_400))] {
        let stores = fixture.open(Settings { expires, ..Settings::default() }).await;
        let id = id();
        stores.caller.expect(&id).await.unwrap();
        stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
        assert_eq!(stores.wait(&id).await, TaskMeta::success(&id, 1), "{expires:?}");
        stores.close().await;
    }
}

/// A closed store ends the waits on it with an error, and may be closed again. The memory store, which has nothing
/// to let go of, may go on.
pub async fn closing_is_idempotent_and_ends_waits(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    if stores.caller.name() == "memory" {
        stores.close().await;
        return stores.close().await;
    }
    let id = id();
    stores.caller.expect(&id).await.unwrap();
    let caller = stores.caller.clone();
    let (waiting, id) = (tokio::spawn(async move { caller.wait(&id).await }), super::id());
    stores.caller.expect(&id).await.unwrap();
    stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
    stores.wait(&id).await;
    stores.close().await;
    stores.close().await;
    let ended = tokio::time::timeout(DEADLINE, waiting).await.expect("the wait went on").unwrap();
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
}
