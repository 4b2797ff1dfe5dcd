//! What becomes of those who give no sign of life any more, and of what nobody has renewed.
//!
//! What a dead owner held goes back at once. Python workers give no signs; what they hold is taken for abandoned after the
//! visibility timeout, as they do among themselves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use celeriac_broker::Error;
use redis::{Cmd, Value};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::error::is_passing;
use crate::hub::Hub;
use crate::lease::give_back;
use crate::pulse::Silent;

/// Time between two looks for what nobody has renewed; one of all who are there looks.
const SWEEP: Duration = Duration::from_secs(10);
/// Time after which one of us has Redis forget who has read what.
const AIRING: Duration = Duration::from_secs(3600);
/// For how long one of us may bury a dead one alone.
const BURIAL: Duration = Duration::from_secs(10);
/// How many overdue messages go back in one sweep, unless options say otherwise.
const OVERDUE: usize = 1000;

/// Goes on for as long as the connection is there.
pub(crate) async fn run(hub: Weak<Hub>, mut graves: mpsc::Receiver<Silent>) {
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeps.tick().await;
    loop {
        let dead = tokio::select! {
            dead = graves.recv() => match dead {
                Some(dead) => dead,
                None => return,
            },
            _ = sweeps.tick() => Silent::new(),
        };
        let Some(hub) = hub.upgrade() else { return };
        let work = async {
            for (owner, seen) in &dead {
                bury(&hub, owner, seen).await?;
            }
            if dead.is_empty() { sweep(&hub).await } else { Ok(()) }
        };
        match work.await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                tracing::warn!("Redis does not take back what others left for the time being: {error}");
            }
            Err(error) => return hub.lose(error),
        }
    }
}

/// Gives back what a dead owner held, and takes away what goes with him. From then on he can show no sign of life: should
/// he go on, he learns that he has lost what he held. Returns how many messages went back; nothing when somebody else
/// buries, or he has shown himself.
pub(crate) async fn bury(hub: &Arc<Hub>, owner: &str, seen: &str) -> Result<Option<i64>, Error> {
    let Some(lock) = Lock::take(hub, hub.keys.own("burial"), BURIAL).await? else { return Ok(None) };
    let link = &hub.link;
    let condemned = link.call(&link.scripts.condemn, &[], |call| call.arg(owner).arg(seen)).await?;
    if condemned != Value::Int(1) {
        return lock.give_up().await.map(|()| None);
    }
    let tags = tags_of(hub, owner).await?;
    let count = give_back(hub, tags, None).await?;
    link.call(&link.scripts.leave, &[], |call| call.arg(owner)).await?;
    if count > 0 {
        tracing::warn!("{owner} is gone: {count} messages that it held are back in their queues");
        hub.changed(None);
    }
    lock.give_up().await.map(|()| Some(count))
}

/// The leases of an owner, the oldest first.
pub(crate) async fn tags_of(hub: &Hub, owner: &str) -> Result<Vec<String>, Error> {
    let index = hub.keys.prefixed(&hub.keys.options.unacked_index_key);
    let mut tags = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = Cmd::new();
        scan.arg("ZSCAN")
            .arg(&index)
            .arg(&cursor)
            .arg("MATCH")
            .arg(format!("{owner}.*"))
            .arg("COUNT")
            .arg(1000);
        let answer = hub.link.query(&scan).await?;
        let (next, found): (String, Vec<String>) =
            redis::from_redis_value(answer).map_err(|error| Error::NotAccepted(error.to_string()))?;
        tags.extend(found.into_iter().step_by(2));
        if next == "0" {
            break;
        }
        cursor = next;
    }
    let order = |tag: &String| -> (u64, u64) {
        let mut numbers = tag.rsplit('.').map(|number| number.parse().unwrap_or(0));
        let number = numbers.next().unwrap_or(0);
        (numbers.next().unwrap_or(0), number)
    };
    // A scan may tell the same one twice.
    tags.sort_unstable_by_key(order);
    tags.dedup();
    Ok(tags)
}

/// Holds up our own bindings, and gives back what nobody has renewed for the visibility timeout, as kombu does
/// (`Channel.maybe_refresh_binding_expiry`, `QoS.restore_visible`).
async fn sweep(hub: &Arc<Hub>) -> Result<(), Error> {
    let (options, link) = (&hub.keys.options, &hub.link);
    link.call(&link.scripts.refresh, &[], |call| call.arg(&hub.owner)).await?;
    // One look for all of us; its key goes by itself.
    let turn = Lock::take(hub, hub.keys.own("swept"), SWEEP).await?;
    if turn.is_none() {
        return Ok(());
    }
    if let Some(lock) = Lock::take(hub, hub.keys.own("aired"), AIRING).await?
        && let Err(error) = link.call(&link.scripts.air, &[], |call| call).await
    {
        tracing::warn!("Empty lists stay in Redis' memory until the next look: {error}");
        lock.give_up().await?;
    }
    let mutex = hub.keys.prefixed(&options.unacked_mutex_key);
    let Some(lock) = Lock::take(hub, mutex, options.unacked_mutex_expire).await? else { return Ok(()) };
    let call = link.call(&link.scripts.overdue, &[], |call| {
        call.arg(options.visibility_timeout.as_secs_f64())
            .arg(options.unacked_restore_limit.unwrap_or(OVERDUE))
    });
    let mut tags: Vec<String> = redis::from_redis_value(call.await?).unwrap_or_default();
    if tags.len() > 1 {
        let limit = tags.remove(0);
        let count = give_back(hub, tags, Some(&limit)).await?;
        if count > 0 {
            tracing::warn!("{count} messages that nobody has acknowledged in time are back in their queues");
            hub.changed(None);
        }
    }
    lock.give_up().await
}

/// A lock of kombu's making: a key with a token in it, which goes by itself in the end.
struct Lock<'a> {
    hub: &'a Hub,
    key: String,
    token: String,
}

impl<'a> Lock<'a> {
    /// `None` when somebody has it.
    async fn take(hub: &'a Hub, key: String, expires: Duration) -> Result<Option<Self>, Error> {
        let token = Uuid::new_v4().simple().to_string();
        let millis = expires.as_millis().max(1).to_string();
        // A script, which is let through when Redis is full.
        let lock = hub.link.call(&hub.link.scripts.lock, &[], |call| call.arg(&key).arg(&token).arg(&millis));
        Ok((lock.await? == Value::Int(1)).then_some(Lock { hub, key, token }))
    }

    async fn give_up(self) -> Result<(), Error> {
        let link = &self.hub.link;
        link.call(&link.scripts.unlock, &[], |call| call.arg(&self.key).arg(&self.token)).await.map(drop)
    }
}
