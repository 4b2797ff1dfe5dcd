//! What command line and environment change in an app's settings.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use celeriac_worker::Autoscale;

use super::args::{Global, Worker};
use super::error::Error;
use super::{node, settings, values};
use crate::{Config, GossipMode, Settings};

/// The longest interval of heartbeats that watchers believe.
const SLOWEST: Duration = Duration::from_secs(60);

/// The environment, then the options that stand before the sub-command.
///
/// # Errors
/// [`Error::Usage`] when a variable's value means nothing.
pub(super) fn global(config: &mut Config, options: &Global) -> Result<(), Error> {
    for (name, value) in env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let Some(setting) = name.strip_prefix("CELERIAC_").map(str::to_lowercase) else { continue };
        // The names of our own settings start with it, too.
        let done = match settings::set(config, &setting, value) {
            Err(settings::SettingError::Unknown(_)) => {
                settings::set(config, &format!("celeriac_{setting}"), value)
            }
            done => done,
        };
        match done {
            // Other variables of that prefix are none of ours.
            Ok(()) | Err(settings::SettingError::Unknown(_)) => {}
            Err(error) => return Err(Error::Usage(format!("{name}: {error}"))),
        }
    }
    let given = |option: &Option<String>, name| {
        option.clone().or_else(|| env::var(name).ok()).filter(|url| !url.is_empty())
    };
    if let Some(url) = given(&options.broker, "CELERY_BROKER_URL") {
        config.broker_url = url;
    }
    if let Some(url) = given(&options.result_backend, "CELERY_RESULT_BACKEND") {
        config.result_backend = url;
    }
    Ok(())
}

/// A worker's options and its trailing `setting=value`s.
///
/// # Errors
/// [`Error::Usage`] when one of the latter means nothing.
pub(super) fn worker(config: &mut Config, options: &Worker) -> Result<(), Error> {
    for text in &options.settings {
        settings::assign(config, text).map_err(|error| {
            Error::Usage(format!("Unable to parse extra configuration from command line.\nReason: {error}"))
        })?;
    }
    // Zero is the default, as in Celery.
    if let Some(concurrency) = options.pool.concurrency.filter(|concurrency| *concurrency > 0) {
        config.worker_concurrency = Some(concurrency);
    }
    if let Some(multiplier) = options.node.prefetch_multiplier.filter(|multiplier| *multiplier > 0) {
        config.worker_prefetch_multiplier = multiplier;
    }
    config.worker_disable_prefetch |= options.node.disable_prefetch;
    config.celeriac_gossip = options.features.gossip.unwrap_or(config.celeriac_gossip);
    config.worker_send_task_events |= options.pool.task_events;
    config.task_time_limit = options.pool.time_limit.or(config.task_time_limit);
    config.task_soft_time_limit = options.pool.soft_time_limit.or(config.task_soft_time_limit);
    Ok(())
}

/// Nobody is watched who is heard of too seldom.
///
/// # Errors
/// [`Error::Usage`] when the interval of the heartbeats is too long.
pub fn heartbeat(settings: &Settings) -> Result<(), Error> {
    let is_watched = settings.heartbeat && settings.gossip && settings.gossip_mode != GossipMode::Classic;
    if settings.heartbeat_interval > SLOWEST && is_watched {
        let text =
            "--heartbeat-interval: who watches waits for a minute at most; --gossip classic for longer";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
}

/// The settings of a worker with what its command line says of it alone: name, queues, cluster.
///
/// # Errors
/// [`Error::Usage`] when there is no queue left to consume, or a letter in a file's name means nothing.
pub(super) fn node(mut settings: Settings, options: &Worker) -> Result<Settings, Error> {
    settings.hostname.clone_from(&options.node.hostname);
    settings.gossip = !options.features.without_gossip;
    settings.mingle = !options.features.without_mingle;
    settings.heartbeat = !options.features.without_heartbeat;
    let interval = options.features.heartbeat_interval.filter(|interval| !interval.is_zero());
    settings.heartbeat_interval = interval.unwrap_or(settings.heartbeat_interval);
    heartbeat(&settings)?;
    let statedb = options.node.statedb.as_deref();
    let statedb = statedb.map(|name| node::file_name(name, &settings.hostname)).transpose();
    settings.statedb = statedb.map_err(Error::Usage)?.map(Into::into);
    revokes(&mut settings)?;
    // None at most is no bound at all, as in Celery.
    if let Some(values::Autoscale { max, min }) = options.features.autoscale.filter(|bounds| bounds.max > 0) {
        settings.concurrency = min.max(1);
        settings.autoscale = Some(Autoscale { max, min, keepalive: autoscale_keepalive()? });
    }
    if let Some(queues) = &options.queue.queues {
        settings.consume_from.clone_from(&queues.0);
    }
    settings.consume_from = settings.consumed();
    if let Some(excluded) = &options.queue.exclude_queues {
        settings.consume_from.retain(|queue| !excluded.0.contains(queue));
    }
    if settings.consume_from.is_empty() {
        return Err(Error::Usage("there is no queue left to consume".to_owned()));
    }
    Ok(settings)
}

/// How many revokes are remembered and for how long, as the environment says.
///
/// # Errors
/// [`Error::Usage`] when a variable's value means nothing.
pub fn revokes(settings: &mut Settings) -> Result<(), Error> {
    settings.revokes_max = number("CELERY_WORKER_REVOKES_MAX")?.unwrap_or(settings.revokes_max);
    settings.revoke_expires = seconds("CELERY_WORKER_REVOKE_EXPIRES")?.unwrap_or(settings.revoke_expires);
    Ok(())
}

/// `AUTOSCALE_KEEPALIVE`, a variable of the environment: for how long a pool that has grown stays so.
///
/// # Errors
/// [`Error::Usage`] when its value means nothing.
pub fn autoscale_keepalive() -> Result<Duration, Error> {
    Ok(seconds("AUTOSCALE_KEEPALIVE")?.unwrap_or(Duration::from_secs(30)))
}

/// The time in a variable of the environment.
fn seconds(name: &str) -> Result<Option<Duration>, Error> {
    let seconds: Option<f64> = number(name)?;
    let time = seconds.map(|seconds| {
        let wrong = |_| Error::Usage(format!("{name}: {seconds} is no time"));
        Duration::try_from_secs_f64(seconds).map_err(wrong)
    });
    time.transpose()
}

/// The number in a variable of the environment (`celery/worker/state.py`).
fn number<T: FromStr>(name: &str) -> Result<Option<T>, Error> {
    let text = env::var(name).ok().filter(|text| !text.is_empty());
    let read =
        |text: String| text.parse().map_err(|_| Error::Usage(format!("{name}: {text:?} is no number")));
    text.map(read).transpose()
}
