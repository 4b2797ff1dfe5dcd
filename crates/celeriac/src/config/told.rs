//! What the settings say to a worker, a producer, a result store.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{ExchangeKind, Queue};
use celeriac_cluster::watch::message::MAX_WATCHERS;
use celeriac_protocol::codec::{Accept, Compression, Serializer};
use celeriac_results::Retry;
use celeriac_worker::{EventSettings, Pidbox, ProducerSettings, Queues, Rate, RateError, Settings};

use super::Config;
use crate::ConfigError;
use crate::origin::{host, origin};

/// How many watchers a cluster may have.
const WATCHERS: RangeInclusive<usize> = 1..=MAX_WATCHERS;
/// How often the lead may beat.
const BEATS: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);

impl Config {
    /// What a worker is told; its name is `celery@host`.
    ///
    /// # Errors
    /// [`ConfigError::Setting`].
    pub fn worker_settings(&self) -> Result<Settings, ConfigError> {
        let defaults = Settings::default();
        Ok(Settings {
            hostname: format!("celery@{}", host()),
            concurrency: self.worker_concurrency.unwrap_or(defaults.concurrency),
            prefetch_multiplier: self.worker_prefetch_multiplier,
            disable_prefetch: self.worker_disable_prefetch,
            queues: self.queues(),
            consume_from: Vec::new(),
            accept: accept("accept_content", &self.accept_content)?,
            task_acks_late: self.task_acks_late,
            task_acks_on_failure_or_timeout: self.task_acks_on_failure_or_timeout,
            task_ignore_result: self.task_ignore_result,
            task_store_errors_even_if_ignored: self.task_store_errors_even_if_ignored,
            task_track_started: self.task_track_started,
            task_time_limit: self.task_time_limit,
            task_soft_time_limit: self.task_soft_time_limit,
            result_extended: self.result_extended,
            result_chord_join_timeout: self.result_chord_join_timeout,
            result_retry: self.retry(),
            soft_shutdown_timeout: self.worker_soft_shutdown_timeout,
            connection_retry_on_startup: self.broker_connection_retry_on_startup,
            connection_max_retries: self.broker_connection_max_retries,
            eta_task_limit: self.worker_eta_task_limit.unwrap_or(defaults.eta_task_limit),
            cancel_on_connection_loss: self.worker_cancel_long_running_tasks_on_connection_loss,
            enable_remote_control: self.worker_enable_remote_control,
            task_events: self.worker_send_task_events,
            task_default_rate_limit: self.task_default_rate_limit.as_deref().map_or(Ok(None), |text| {
                let wrong = |error: RateError| ConfigError::Setting {
                    setting: "task_default_rate_limit",
                    reason: error.to_string(),
                };
                Rate::parse(text).map_err(wrong)
            })?,
            disable_rate_limits: self.worker_disable_rate_limits,
            pool_restarts: self.worker_pool_restarts,
            gossip_mode: self.celeriac_gossip,
            gossip_watchers: within("celeriac_gossip_watchers", self.celeriac_gossip_watchers, WATCHERS)?,
            gossip_beat: within("celeriac_gossip_beat", self.celeriac_gossip_beat, BEATS)?,
            events: self.event_settings()?,
            control: self.control_settings()?,
            conf: self.changed(),
            conf_defaults: self.unchanged(),
            ..defaults
        })
    }

    /// What a producer is told.
    ///
    /// # Errors
    /// [`ConfigError::Setting`].
    pub fn producer_settings(&self) -> Result<ProducerSettings, ConfigError> {
        let compression = |name: &String| {
            let reason = format!("{name:?} is not known; there are zlib (gzip), bzip2, lzma, zstd, brotli");
            Compression::from_name(name).ok_or(ConfigError::Setting { setting: "task_compression", reason })
        };
        Ok(ProducerSettings {
            queues: self.queues(),
            serializer: serializer("task_serializer", &self.task_serializer)?,
            compression: self.task_compression.as_ref().map(compression).transpose()?,
            origin: origin(),
            max_retries: if self.task_publish_retry { self.task_publish_retry_policy.max_retries } else { 0 },
            priority: self.task_default_priority,
            sent_events: if self.task_send_sent_event { Some(self.event_settings()?) } else { None },
        })
    }

    /// What a result store is told.
    ///
    /// # Errors
    /// [`ConfigError::Setting`].
    pub fn result_settings(&self) -> Result<celeriac_results::Settings, ConfigError> {
        Ok(celeriac_results::Settings {
            serializer: serializer("result_serializer", &self.result_serializer)?,
            accept: match &self.result_accept_content {
                Some(names) => accept("result_accept_content", names)?,
                None => accept("accept_content", &self.accept_content)?,
            },
            expires: self.result_expires,
            persistent: self.result_persistent,
            global_keyprefix: self.result_global_keyprefix.clone(),
            chord_ordered: self.result_chord_ordered,
            retry: self.retry(),
        })
    }

    fn retry(&self) -> Retry {
        Retry {
            always: self.result_backend_always_retry,
            limit: self.result_backend_max_retries,
            base: Duration::from_millis(self.result_backend_base_sleep_between_retries_ms.into()),
            max: Duration::from_millis(self.result_backend_max_sleep_between_retries_ms.into()),
        }
    }

    fn control_settings(&self) -> Result<Pidbox, ConfigError> {
        never_both("control_queue_durable", self.control_queue_durable, self.control_queue_exclusive)?;
        Ok(Pidbox {
            namespace: self.control_exchange.clone(),
            queue: Queue {
                durable: self.control_queue_durable,
                exclusive: self.control_queue_exclusive,
                auto_delete: !self.control_queue_durable,
                expires: Some(self.control_queue_expires),
                message_ttl: Some(self.control_queue_ttl),
                ..Queue::new("")
            },
            serializer: serializer("task_serializer", &self.task_serializer)?,
            accept: accept("accept_content", &self.accept_content)?,
            clock: Arc::default(),
        })
    }

    fn event_settings(&self) -> Result<EventSettings, ConfigError> {
        never_both("event_queue_durable", self.event_queue_durable, self.event_queue_exclusive)?;
        Ok(EventSettings {
            exchange: self.event_exchange.clone(),
            kind: ExchangeKind::Topic,
            queue: Queue {
                durable: self.event_queue_durable,
                exclusive: self.event_queue_exclusive,
                auto_delete: !self.event_queue_durable,
                expires: Some(self.event_queue_expires),
                message_ttl: Some(self.event_queue_ttl),
                ..Queue::new(&self.event_queue_prefix)
            },
            serializer: serializer("event_serializer", &self.event_serializer)?,
            // As Celery's receiver: what we send, and JSON.
            accept: accept("event_serializer", &[self.event_serializer.clone(), "json".to_owned()])?,
            exact_utcoffset: false,
        })
    }

    fn queues(&self) -> Queues {
        let known = if self.task_queues.is_empty() {
            let queue = Queue {
                kind: self.task_default_queue_type,
                max_priority: self.task_queue_max_priority,
                ..Queue::new(&self.task_default_queue)
            };
            vec![queue.into()]
        } else {
            self.task_queues.iter().cloned().map(Into::into).collect()
        };
        Queues {
            default: self.task_default_queue.clone(),
            kind: self.task_create_missing_queue_type,
            max_priority: self.task_queue_max_priority,
            known,
        }
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    setting: &'static str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    let reason = format!("expected {:?} to {:?}, not {value:?}", bounds.start(), bounds.end());
    Err(ConfigError::Setting { setting, reason })
}

/// An exclusive queue goes with its connection, so it cannot be durable too (`celery/app/control.py`).
fn never_both(setting: &'static str, durable: bool, exclusive: bool) -> Result<(), ConfigError> {
    if durable && exclusive {
        let reason = "a queue cannot be both durable and exclusive".to_owned();
        return Err(ConfigError::Setting { setting, reason });
    }
    Ok(())
}

fn accept(setting: &'static str, names: &[String]) -> Result<Accept, ConfigError> {
    Accept::new(names).map_err(|error| ConfigError::Setting { setting, reason: error.to_string() })
}

fn serializer(setting: &'static str, name: &str) -> Result<Serializer, ConfigError> {
    let reason = || match name {
        "pickle" => "pickle is for Python alone; there are json, msgpack, yaml".to_owned(),
        name => format!("{name:?} is not known; there are json, msgpack, yaml"),
    };
    Serializer::from_name(name).ok_or_else(|| ConfigError::Setting { setting, reason: reason() })
}
