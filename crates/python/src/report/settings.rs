//! The app's settings as those of the worker.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Queue, QueueKind};
use celeriac_protocol::codec::{Accept, Compression, Serializer};
use celeriac_protocol::{Map, Value};
use celeriac_worker::{EventSettings, GossipMode, Pidbox, ProducerSettings, Queues, Settings};

use super::tasks::rate;
use super::{Fields, Report, ReportError};

/// What the command line says of a worker and Celery has no setting for.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Not `--without-gossip`.
    pub gossip: bool,
    /// `--gossip`, celeriac's own.
    pub gossip_mode: GossipMode,
    /// Not `--without-mingle`.
    pub mingle: bool,
    /// Not `--without-heartbeat`.
    pub heartbeat: bool,
    /// `--heartbeat-interval`.
    pub heartbeat_interval: Option<Duration>,
}

impl Default for Features {
    fn default() -> Self {
        Features {
            gossip: true,
            gossip_mode: GossipMode::default(),
            mingle: true,
            heartbeat: true,
            heartbeat_interval: None,
        }
    }
}

impl Report {
    /// What the worker is told. Its statedb is not set: whoever has the name's letters expanded does that.
    ///
    /// # Errors
    /// When a setting means nothing to a worker.
    pub fn settings(&self, features: &Features) -> Result<Settings, ReportError> {
        let conf = Fields::new("conf", &self.conf);
        let facts = &self.worker;
        let defaults = Settings::default();
        let retry = conf.optional_truth("broker_connection_retry_on_startup");
        Ok(Settings {
            hostname: facts.hostname.clone(),
            // Those of Celery's pool, whatever `-c` says.
            concurrency: facts.processes * facts.jobs,
            prefetch_multiplier: facts.prefetch_multiplier,
            disable_prefetch: conf.truth("worker_disable_prefetch"),
            queues: self.queues(&conf)?,
            consume_from: self.consume.iter().map(|queue| queue.name().to_owned()).collect(),
            accept: facts.accept.clone(),
            task_acks_late: conf.truth("task_acks_late"),
            task_acks_on_failure_or_timeout: conf.truth("task_acks_on_failure_or_timeout"),
            task_ignore_result: conf.truth("task_ignore_result"),
            task_store_errors_even_if_ignored: conf.truth("task_store_errors_even_if_ignored"),
            task_track_started: conf.truth("task_track_started"),
            task_time_limit: facts.time_limit,
            task_soft_time_limit: facts.soft_time_limit,
            result_extended: conf.truth("result_extended"),
            soft_shutdown_timeout: conf.seconds("worker_soft_shutdown_timeout")?.unwrap_or_default(),
            connection_retry_on_startup: retry.unwrap_or_else(|| conf.truth("broker_connection_retry")),
            // Zero is for ever, too.
            connection_max_retries: conf
                .number("broker_connection_max_retries")?
                .filter(|retries| *retries > 0),
            eta_task_limit: conf.number("worker_eta_task_limit")?.unwrap_or(defaults.eta_task_limit),
            cancel_on_connection_loss: conf.truth("worker_cancel_long_running_tasks_on_connection_loss"),
            enable_remote_control: conf.truth("worker_enable_remote_control"),
            gossip: features.gossip,
            gossip_mode: features.gossip_mode,
            mingle: features.mingle,
            heartbeat: features.heartbeat,
            heartbeat_interval: features.heartbeat_interval.unwrap_or(defaults.heartbeat_interval),
            task_events: facts.task_events,
            task_default_rate_limit: rate(&conf, "task_default_rate_limit")?,
            disable_rate_limits: facts.disable_rate_limits,
            pool_restarts: facts.pool_restarts,
            events: events(&conf, self.is_celery_5_7())?,
            control: control(&conf, &facts.accept)?,
            conf: self.shown(true),
            conf_defaults: self.shown(false),
            ..defaults
        })
    }

    /// What the worker's own calls are sent by, such as those of elections. Tasks send by the app's Celery.
    ///
    /// # Errors
    /// When a setting means nothing.
    pub fn producer_settings(&self) -> Result<ProducerSettings, ReportError> {
        let conf = Fields::new("conf", &self.conf);
        let host = self.worker.hostname.split_once('@').map_or("localhost", |(_, host)| host);
        let policy = conf.part("task_publish_retry_policy").ok();
        let retries = policy.map(|policy| policy.number("max_retries")).transpose()?.flatten();
        Ok(ProducerSettings {
            queues: self.queues(&conf)?,
            serializer: serializer(&conf, "task_serializer").unwrap_or_default(),
            compression: conf.text("task_compression").and_then(|name| Compression::from_name(&name)),
            origin: format!("gen{}@{host}", std::process::id()),
            max_retries: retries.filter(|_| conf.truth("task_publish_retry")).unwrap_or_default(),
            priority: conf.number("task_default_priority")?,
            sent_events: if conf.truth("task_send_sent_event") {
                Some(events(&conf, self.is_celery_5_7())?)
            } else {
                None
            },
        })
    }

    fn queues(&self, conf: &Fields<'_>) -> Result<Queues, ReportError> {
        Ok(Queues {
            default: conf.text("task_default_queue").unwrap_or_else(|| "celery".to_owned()),
            kind: match conf.value("task_create_missing_queue_type").as_str() {
                Some("quorum") => QueueKind::Quorum,
                _ => QueueKind::Classic,
            },
            max_priority: conf.number("task_queue_max_priority")?,
            known: self.known.clone(),
        })
    }

    /// For `inspect conf`, which hides what is secret.
    fn shown(&self, changed: bool) -> Map {
        let picked = self.conf.iter().filter(|(name, _)| self.changed.contains(*name) == changed);
        picked.map(|(name, value)| (name.to_owned(), plain(value))).collect()
    }
}

/// Without the marks of what is no plain data in Python.
fn plain(value: &Value) -> Value {
    match value {
        Value::Map(map) => match (map.len(), map.get("__repr__").or_else(|| map.get("__seconds__"))) {
            (1, Some(marked)) => marked.clone(),
            _ => map.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect::<Map>().into(),
        },
        Value::List(items) => Value::List(items.iter().map(plain).collect()),
        value => value.clone(),
    }
}

fn events(conf: &Fields<'_>, exact_utcoffset: bool) -> Result<EventSettings, ReportError> {
    let defaults = EventSettings::default();
    let serializer = serializer(conf, "event_serializer")?;
    let accept = [serializer, Serializer::Json].map(Serializer::name);
    Ok(EventSettings {
        exchange: conf.text("event_exchange").unwrap_or(defaults.exchange),
        kind: defaults.kind,
        queue: Queue {
            name: conf.text("event_queue_prefix").unwrap_or(defaults.queue.name.clone()),
            ..shared(conf, "event_queue", defaults.queue)?
        },
        accept: Accept::new(accept).map_err(|error| conf.wrong("event_serializer", error))?,
        serializer,
        exact_utcoffset,
    })
}

fn control(conf: &Fields<'_>, accept: &Accept) -> Result<Pidbox, ReportError> {
    let defaults = Pidbox::default();
    Ok(Pidbox {
        namespace: conf.text("control_exchange").unwrap_or(defaults.namespace),
        queue: shared(conf, "control_queue", defaults.queue)?,
        serializer: serializer(conf, "task_serializer").unwrap_or_default(),
        accept: accept.clone(),
        clock: Arc::default(),
    })
}

/// What `control_queue_*` and `event_queue_*` have in common.
fn shared(conf: &Fields<'_>, prefix: &str, queue: Queue) -> Result<Queue, ReportError> {
    let [durable, exclusive] = ["durable", "exclusive"].map(|name| conf.truth(&format!("{prefix}_{name}")));
    if durable && exclusive {
        return Err(conf.wrong(&format!("{prefix}_durable"), "a queue cannot be both durable and exclusive"));
    }
    Ok(Queue {
        durable,
        exclusive,
        auto_delete: !durable,
        message_ttl: conf.seconds(&format!("{prefix}_ttl"))?,
        expires: conf.seconds(&format!("{prefix}_expires"))?,
        ..queue
    })
}

fn serializer(conf: &Fields<'_>, name: &str) -> Result<Serializer, ReportError> {
    let Some(text) = conf.text(name) else { return Ok(Serializer::default()) };
    let reason = || format!("{text} is Python's alone; there are json, msgpack, yaml");
    Serializer::from_name(&text).ok_or_else(|| conf.wrong(name, reason()))
}
