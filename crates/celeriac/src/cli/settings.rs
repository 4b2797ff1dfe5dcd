//! Settings by name and text, as the command line and the environment give them (`celery/loaders/base.py`,
//! `cmdline_config_parser`).

use std::str::FromStr;

use super::values;
use crate::{Config, GossipMode, QueueKind};

/// Why a setting is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingError {
    #[error("there is no setting {0}")]
    Unknown(String),
    #[error("{name}: {reason}")]
    Value { name: String, reason: String },
}

/// Takes `name=value`; a dot may stand for the first underscore, and `_name` is `worker_name`.
pub(super) fn assign(config: &mut Config, text: &str) -> Result<(), SettingError> {
    let fail = || SettingError::Value { name: text.to_owned(), reason: "expected SETTING=VALUE".to_owned() };
    let (name, value) = text.split_once('=').ok_or_else(fail)?;
    let name = name.to_lowercase().replace('.', "_");
    let name = if name.starts_with('_') { format!("worker{name}") } else { name };
    set(config, &name, value)
}

/// Sets one setting.
pub(super) fn set(config: &mut Config, name: &str, value: &str) -> Result<(), SettingError> {
    let done = match name {
        "broker_url" => text(&mut config.broker_url, value),
        "broker_connection_retry_on_startup" => flag(&mut config.broker_connection_retry_on_startup, value),
        "broker_connection_max_retries" => optional(&mut config.broker_connection_max_retries, value, parsed),
        "result_backend" => text(&mut config.result_backend, value),
        "result_expires" => optional(&mut config.result_expires, value, values::seconds),
        "result_serializer" => text(&mut config.result_serializer, value),
        "result_extended" => flag(&mut config.result_extended, value),
        "result_persistent" => flag(&mut config.result_persistent, value),
        "result_chord_ordered" => flag(&mut config.result_chord_ordered, value),
        "result_chord_join_timeout" => {
            values::seconds(value).map(|time| config.result_chord_join_timeout = time)
        }
        "result_backend_always_retry" => flag(&mut config.result_backend_always_retry, value),
        "result_backend_max_retries" => optional(&mut config.result_backend_max_retries, value, parsed),
        "result_backend_base_sleep_between_retries_ms" => {
            parsed(value).map(|number| config.result_backend_base_sleep_between_retries_ms = number)
        }
        "result_backend_max_sleep_between_retries_ms" => {
            parsed(value).map(|number| config.result_backend_max_sleep_between_retries_ms = number)
        }
        "accept_content" => list(value).map(|names| config.accept_content = names),
        "result_accept_content" => optional(&mut config.result_accept_content, value, list),
        "task_serializer" => text(&mut config.task_serializer, value),
        "task_compression" => optional(&mut config.task_compression, value, parsed),
        "task_default_queue" => text(&mut config.task_default_queue, value),
        "task_default_queue_type" => kind(&mut config.task_default_queue_type, value),
        "task_create_missing_queue_type" => kind(&mut config.task_create_missing_queue_type, value),
        "task_queue_max_priority" => optional(&mut config.task_queue_max_priority, value, parsed),
        "task_default_priority" => optional(&mut config.task_default_priority, value, parsed),
        "task_acks_late" => flag(&mut config.task_acks_late, value),
        "task_acks_on_failure_or_timeout" => flag(&mut config.task_acks_on_failure_or_timeout, value),
        "task_ignore_result" => flag(&mut config.task_ignore_result, value),
        "task_store_errors_even_if_ignored" => flag(&mut config.task_store_errors_even_if_ignored, value),
        "task_track_started" => flag(&mut config.task_track_started, value),
        "task_time_limit" => optional(&mut config.task_time_limit, value, values::seconds),
        "task_soft_time_limit" => optional(&mut config.task_soft_time_limit, value, values::seconds),
        "task_default_rate_limit" => {
            optional(&mut config.task_default_rate_limit, value, |value| Ok(value.to_owned()))
        }
        "task_publish_retry" => flag(&mut config.task_publish_retry, value),
        "worker_concurrency" => optional(&mut config.worker_concurrency, value, parsed),
        "worker_prefetch_multiplier" => {
            parsed(value).map(|number| config.worker_prefetch_multiplier = number)
        }
        "worker_disable_prefetch" => flag(&mut config.worker_disable_prefetch, value),
        "worker_soft_shutdown_timeout" => {
            values::seconds(value).map(|time| config.worker_soft_shutdown_timeout = time)
        }
        "worker_eta_task_limit" => optional(&mut config.worker_eta_task_limit, value, parsed),
        "worker_cancel_long_running_tasks_on_connection_loss" => {
            flag(&mut config.worker_cancel_long_running_tasks_on_connection_loss, value)
        }
        "worker_enable_remote_control" => flag(&mut config.worker_enable_remote_control, value),
        "worker_send_task_events" => flag(&mut config.worker_send_task_events, value),
        "worker_disable_rate_limits" => flag(&mut config.worker_disable_rate_limits, value),
        "worker_pool_restarts" => flag(&mut config.worker_pool_restarts, value),
        "task_send_sent_event" => flag(&mut config.task_send_sent_event, value),
        "control_exchange" => text(&mut config.control_exchange, value),
        "control_queue_ttl" => values::seconds(value).map(|time| config.control_queue_ttl = time),
        "control_queue_expires" => values::seconds(value).map(|time| config.control_queue_expires = time),
        "control_queue_exclusive" => flag(&mut config.control_queue_exclusive, value),
        "control_queue_durable" => flag(&mut config.control_queue_durable, value),
        "event_exchange" => text(&mut config.event_exchange, value),
        "event_queue_prefix" => text(&mut config.event_queue_prefix, value),
        "event_queue_ttl" => values::seconds(value).map(|time| config.event_queue_ttl = time),
        "event_queue_expires" => values::seconds(value).map(|time| config.event_queue_expires = time),
        "event_queue_exclusive" => flag(&mut config.event_queue_exclusive, value),
        "event_queue_durable" => flag(&mut config.event_queue_durable, value),
        "event_serializer" => text(&mut config.event_serializer, value),
        "celeriac_gossip" => gossip(&mut config.celeriac_gossip, value),
        "celeriac_gossip_watchers" => parsed(value).map(|number| config.celeriac_gossip_watchers = number),
        "celeriac_gossip_beat" => values::seconds(value).map(|time| config.celeriac_gossip_beat = time),
        _ => return Err(SettingError::Unknown(name.to_owned())),
    };
    done.map_err(|reason| SettingError::Value { name: name.to_owned(), reason })
}

fn text(to: &mut String, value: &str) -> Result<(), String> {
    value.clone_into(to);
    Ok(())
}

fn flag(to: &mut bool, value: &str) -> Result<(), String> {
    values::strtobool(value).map(|value| *to = value)
}

fn optional<T>(
    to: &mut Option<T>,
    value: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<(), String> {
    *to = if matches!(value, "" | "None" | "none") { None } else { Some(read(value)?) };
    Ok(())
}

fn parsed<T: FromStr<Err: ToString>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

fn list(value: &str) -> Result<Vec<String>, String> {
    values::list(value).map(|list| list.0)
}

fn kind(to: &mut QueueKind, value: &str) -> Result<(), String> {
    *to = match value {
        "classic" => QueueKind::Classic,
        "quorum" => QueueKind::Quorum,
        "stream" => QueueKind::Stream,
        _ => return Err("expected classic, quorum or stream".to_owned()),
    };
    Ok(())
}

fn gossip(to: &mut GossipMode, value: &str) -> Result<(), String> {
    let names = GossipMode::ALL.map(GossipMode::name).join(", ");
    *to = GossipMode::from_name(value).ok_or_else(|| format!("expected one of {names}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_come_in_celerys_ways() {
        let mut config = Config::default();
        for text in
            ["worker.prefetch_multiplier=1", "TASK_ACKS_LATE=yes", "_concurrency=3", "result_expires=None"]
        {
            assign(&mut config, text).unwrap();
        }
        assert_eq!((config.worker_prefetch_multiplier, config.worker_concurrency), (1, Some(3)));
        assert!(config.task_acks_late && config.result_expires.is_none());
        for text in ["celeriac.gossip=classic", "CELERIAC_GOSSIP_WATCHERS=3", "celeriac_gossip_beat=0.5"] {
            assign(&mut config, text).unwrap();
        }
        let gossip = (config.celeriac_gossip, config.celeriac_gossip_watchers, config.celeriac_gossip_beat);
        assert_eq!(gossip, (GossipMode::Classic, 3, Duration::from_millis(500)));
    }

    #[test]
    fn what_means_nothing_is_told() {
        let mut config = Config::default();
        assert_eq!(
            assign(&mut config, "task_always_eager=1"),
            Err(SettingError::Unknown("task_always_eager".into()))
        );
        for bad in [
            "hello",
            "task_acks_late=perhaps",
            "worker_concurrency=-1",
            "task_time_limit=inf",
            "celeriac_gossip=loud",
            "celeriac_gossip_watchers=two",
        ] {
            assert!(matches!(assign(&mut config, bad), Err(SettingError::Value { .. })), "{bad}");
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn times_are_seconds() {
        let mut config = Config::default();
        assign(&mut config, "task_soft_time_limit=1.5").unwrap();
        assert_eq!(config.task_soft_time_limit, Some(Duration::from_millis(1500)));
    }
}
