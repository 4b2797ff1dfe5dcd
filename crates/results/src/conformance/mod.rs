//! The suite that every result store passes: what callers and workers may rely on, whichever store it is.
//!
//! A store's tests make a [`Fixture`] and expand [`suite!`](crate::suite), which gives each property its own test.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod chords;
mod content;
mod states;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::TaskMeta;

pub use self::chords::*;
use self::content::settings;
pub use self::content::*;
pub use self::states::*;
pub use self::waiting::*;
use crate::{Error, ReplyTo, ResultStore, Settings};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Opens stores of one kind.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Two new handles of one store that holds nothing: as two processes have them, where that makes a difference.
    async fn open(&self, settings: Settings) -> Stores;
}

/// The two ends of a store.
pub struct Stores {
    /// Sends tasks and asks for results.
    pub caller: Arc<dyn ResultStore>,
    /// Runs tasks and stores results.
    pub worker: Arc<dyn ResultStore>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stores({})", self.caller.display_url())
    }
}

impl Stores {
    /// Whether the store answers by queue: it tells less, to one caller only, and forgets as its messages go.
    pub fn replies(&self) -> bool {
        self.caller.reply_to().is_some()
    }

    /// Stores a result as a worker does, for a call of `caller`.
    pub async fn store(&self, meta: &TaskMeta) -> Result<(), Error> {
        let reply_to = self.caller.reply_to().map(|queue| ReplyTo { queue, correlation_id: meta.id.clone() });
        self.worker.store(meta, reply_to.as_ref()).await
    }

    /// Fetches until what is known passes `test`.
    pub async fn fetch_until(&self, id: &str, test: impl Fn(&TaskMeta) -> bool) -> TaskMeta {
        let poll = async {
            loop {
                let meta = self.caller.fetch(id).await.expect("fetch");
                if test(&meta) {
                    return meta;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("{id} never got there"))
    }

    /// Waits for a result.
    pub async fn wait(&self, id: &str) -> TaskMeta {
        let wait = tokio::time::timeout(DEADLINE, self.caller.wait(id));
        wait.await.unwrap_or_else(|_| panic!("{id} never became ready")).expect("wait")
    }

    /// Lets go of both.
    pub async fn close(&self) {
        self.caller.close().await;
        self.worker.close().await;
    }
}

/// An id that no other test has.
pub fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Expands to one test for each property, run on the store that the expression, a [`Fixture`], opens.
#[macro_export]
macro_rules! suite {
    ($fixture:expr) => {
        $crate::suite!($fixture,
            unknown_ids_are_pending, states_follow_each_other, a_success_is_not_replaced,
            a_failure_is_replaced, a_retry_replaces_no_end, forgotten_results_are_pending, results_expire,
            results_without_expiry_stay, closing_is_idempotent_and_ends_waits,
            every_value_survives, exceptions_survive, every_field_survives, large_results_survive,
            odd_ids_survive, every_serializer_is_read_back, other_serializers_are_refused,
            waits_after_ready, waits_before_ready, unready_states_do_not_end_a_wait,
            many_waiters_of_one_task, a_dropped_wait_leaves_the_others, many_tasks_at_once,
            the_last_part_of_a_chord_gets_all, a_part_that_comes_again_counts_once);
    };
    ($fixture:expr, $($property:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                $crate::conformance::$property(&$fixture).await;
            }
        )+
    };
}
