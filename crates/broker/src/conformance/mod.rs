//! What every transport must do, as tests.
//!
//! A transport's tests give a [`Fixture`] and write `celeriac_broker::conformance_suite!(fixture().await)`; each
//! property becomes a test of its own. What a transport cannot do by its [`Capabilities`](crate::Capabilities) is
//! not asked of it.
//! Absence is proved by what comes instead, never by waiting a while; every test has a deadline, so that a hang
//! fails.

pub mod content;
pub mod declaring;
pub mod expiry;
pub mod lifecycle;
pub mod load;
pub mod prefetch;
pub mod routing;
pub mod settling;
mod support;

use std::sync::Arc;
use std::time::Duration;

use crate::Transport;

/// A broker to test, or a corner of one that nobody else uses.
pub trait Fixture: Send + Sync {
    /// A transport to this broker. Each call stands for another process.
    fn transport(&self) -> Arc<dyn Transport>;

    /// A name that nobody else uses, for a queue or an exchange. To be overridden where a broker is shared.
    fn name(&self, base: &str) -> String {
        base.to_owned()
    }
}

/// How long a property may take before it counts as hung.
#[doc(hidden)]
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Makes one test of each property. The argument is an expression, evaluated in each test and allowed to await,
/// that gives a fresh [`Fixture`](crate::conformance::Fixture). The calling crate needs tokio's `macros`,
/// `rt-multi-thread` and `time`.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::conformance_suite! { @expand $fixture;
            content: headers_of_every_type, every_property, bodies_of_every_size;
            declaring: twice_is_once, other_arguments_are_refused, what_is_missing_is_told, bindings_are_listed, streams,
                exclusive_goes_with_its_connection, auto_delete_goes_with_its_last_consumer;
            expiry: a_message_expires, a_queue_s_messages_expire, an_unused_queue_expires;
            lifecycle: close_is_idempotent, a_closed_session_gives_back, a_closed_connection_gives_back,
                a_dropped_connection_gives_back, unsubscribe_stops, deletion_cancels, exclusive_consumer,
                consumers_share_a_queue, without_acks, calls_given_up;
            load: concurrent_publishers_lose_nothing, ten_thousand_arrive_once, order_is_kept, ping_pong,
                hasty_sessions_lose_nothing;
            prefetch: of_a_session, of_a_queue, unlimited, changed_later, of_a_queue_then_of_the_session,
                kept_places, nothing;
            routing: by_the_default_exchange, direct, topic, fanout, once_a_queue, mandatory, mailboxes;
            settling: acks_are_final, ack_through_several_queues, requeued_comes_again, rejected_is_gone,
                rejected_goes_to_the_dead_letter_exchange, nonsense_is_harmless, purge_counts, priorities;
        }
    };
    (@expand $fixture:expr; $($module:ident: $($name:ident),+;)+) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = $fixture;
                let property = $crate::conformance::$module::$name(&fixture);
                tokio::time::timeout($crate::conformance::DEADLINE, property).await.expect("hung");
            })+
        })+
    };
}
