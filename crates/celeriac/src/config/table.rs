//! Settings as data, for remote control's `conf`.

use std::time::Duration;

use celeriac_broker::{Queue, QueueKind, url};
use celeriac_protocol::{Map, Value};
use celeriac_worker::GossipMode;

use super::{Config, PublishRetryPolicy};

/// What stands for a password (`celery/app/utils.py`, `filter_hidden_settings`).
const MASK: &str = "********";

impl Config {
    /// The settings that differ from their defaults, with passwords hidden (`celery/app/utils.py`, `Settings.table`).
    pub fn changed(&self) -> Map {
        self.compared(false)
    }

    /// The settings that have their defaults.
    pub fn unchanged(&self) -> Map {
        self.compared(true)
    }

    fn compared(&self, is_default: bool) -> Map {
        let pairs = self.table().into_iter().zip(Config::default().table());
        pairs.filter(|(own, default)| (own.1 == default.1) == is_default).map(|(own, _)| own).collect()
    }
}

/// Names every setting; one that is forgotten does not compile.
macro_rules! table {
    ($($setting:ident),* $(,)?) => {
        impl Config {
            fn table(&self) -> Vec<(&'static str, Value)> {
                let Config { $($setting),* } = self;
                vec![$((stringify!($setting), $setting.shown())),*]
            }
        }
    };
}

table![
    broker_url,
    broker_connection_retry_on_startup,
    broker_connection_max_retries,
    result_backend,
    result_expires,
    result_serializer,
    result_accept_content,
    result_extended,
    result_persistent,
    result_global_keyprefix,
    result_chord_ordered,
    result_chord_join_timeout,
    result_backend_always_retry,
    result_backend_max_retries,
    result_backend_base_sleep_between_retries_ms,
    result_backend_max_sleep_between_retries_ms,
    accept_content,
    task_serializer,
    task_compression,
    task_default_queue,
    task_default_queue_type,
    task_create_missing_queue_type,
    task_queues,
    task_queue_max_priority,
    task_default_priority,
    task_acks_late,
    task_acks_on_failure_or_timeout,
    task_ignore_result,
    task_store_errors_even_if_ignored,
    task_track_started,
    task_time_limit,
    task_soft_time_limit,
    task_default_rate_limit,
    task_publish_retry,
    task_publish_retry_policy,
    task_send_sent_event,
    worker_concurrency,
    worker_prefetch_multiplier,
    worker_disable_prefetch,
    worker_soft_shutdown_timeout,
    worker_eta_task_limit,
    worker_cancel_long_running_tasks_on_connection_loss,
    worker_enable_remote_control,
    worker_send_task_events,
    worker_disable_rate_limits,
    worker_pool_restarts,
    control_exchange,
    control_queue_ttl,
    control_queue_expires,
    control_queue_exclusive,
    control_queue_durable,
    event_exchange,
    event_queue_prefix,
    event_queue_ttl,
    event_queue_expires,
    event_queue_exclusive,
    event_queue_durable,
    event_serializer,
    celeriac_gossip,
    celeriac_gossip_watchers,
    celeriac_gossip_beat,
];

/// A setting's value as Celery shows it.
trait Shown {
    fn shown(&self) -> Value;
}

impl Shown for bool {
    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Shown for u8 {
    fn shown(&self) -> Value {
        Value::Int((*self).into())
    }
}

impl Shown for u16 {
    fn shown(&self) -> Value {
        Value::Int((*self).into())
    }
}

impl Shown for u32 {
    fn shown(&self) -> Value {
        Value::Int((*self).into())
    }
}

impl Shown for usize {
    fn shown(&self) -> Value {
        i64::try_from(*self).unwrap_or(i64::MAX).into()
    }
}

impl Shown for String {
    fn shown(&self) -> Value {
        url::sanitize(self, MASK).into()
    }
}

/// Seconds.
impl Shown for Duration {
    fn shown(&self) -> Value {
        self.as_secs_f64().into()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, Shown::shown)
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> Value {
        self.iter().map(Shown::shown).collect::<Vec<_>>().into()
    }
}

impl Shown for Queue {
    fn shown(&self) -> Value {
        self.name.as_str().into()
    }
}

impl Shown for QueueKind {
    fn shown(&self) -> Value {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
            QueueKind::Stream => "stream",
        }
        .into()
    }
}

impl Shown for GossipMode {
    fn shown(&self) -> Value {
        self.name().into()
    }
}

impl Shown for PublishRetryPolicy {
    fn shown(&self) -> Value {
        Map::from_iter([("max_retries", self.max_retries.shown())]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_changed_is_shown_and_no_password() {
        assert_eq!(Config::default().changed(), Map::new());
        let config = Config {
            broker_url: "amqp://me:s3c:r@t@host:5672/vhost".to_owned(),
            result_backend: "redis://host/0".to_owned(),
            task_acks_late: true,
            task_time_limit: Some(Duration::from_millis(1500)),
            ..Config::default()
        };
        let expected = Map::from_iter([
            ("broker_url", Value::from("amqp://me:********@host:5672/vhost")),
            ("result_backend", "redis://host/0".into()),
            ("task_acks_late", true.into()),
            ("task_time_limit", 1.5.into()),
        ]);
        assert_eq!(config.changed(), expected);
    }

    #[test]
    fn what_was_not_changed_is_the_rest_of_the_table() {
        let config = Config { task_acks_late: true, ..Config::default() };
        let (changed, unchanged) = (config.changed(), config.unchanged());
        assert_eq!(changed.len() + unchanged.len(), config.table().len());
        assert_eq!(unchanged.get("task_acks_late"), None);
        assert_eq!(unchanged.get("worker_prefetch_multiplier"), Some(&4.into()));
        let settings = config.worker_settings().unwrap();
        assert_eq!((settings.conf, settings.conf_defaults), (changed, unchanged));
    }

    #[test]
    fn gossip_has_bounds() {
        let settings = |watchers, beat| {
            let beat = Duration::from_secs_f64(beat);
            let config = Config {
                celeriac_gossip: GossipMode::Stream,
                celeriac_gossip_watchers: watchers,
                celeriac_gossip_beat: beat,
                ..Config::default()
            };
            config.worker_settings().map_err(|error| error.to_string())
        };
        for (watchers, beat) in [(1, 0.5), (16, 60.0)] {
            let settings = settings(watchers, beat).unwrap();
            assert_eq!(settings.gossip_mode, GossipMode::Stream);
            assert_eq!((settings.gossip_watchers, settings.gossip_beat.as_secs_f64()), (watchers, beat));
            assert_eq!(settings.conf.get("celeriac_gossip"), Some(&"stream".into()));
        }
        let wrong = |watchers, beat| settings(watchers, beat).unwrap_err();
        assert_eq!(wrong(0, 5.0), "celeriac_gossip_watchers: expected 1 to 16, not 0");
        assert_eq!(wrong(17, 5.0), "celeriac_gossip_watchers: expected 1 to 16, not 17");
        assert_eq!(wrong(2, 0.4), "celeriac_gossip_beat: expected 500ms to 60s, not 400ms");
        assert_eq!(wrong(2, 61.0), "celeriac_gossip_beat: expected 500ms to 60s, not 61s");
    }

    #[test]
    fn the_defaults_are_the_workers_own() {
        let (ours, theirs) =
            (Config::default().worker_settings().unwrap(), celeriac_worker::Settings::default());
        assert_eq!(ours.gossip_mode, theirs.gossip_mode);
        assert_eq!((ours.gossip_watchers, ours.gossip_beat), (theirs.gossip_watchers, theirs.gossip_beat));
    }
}
