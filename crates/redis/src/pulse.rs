//! Signs of life, and what becomes of those who give none any more.
//!
//! Who takes leases says every other second that he lives. Whoever sees one silent for 6 s, and still at the next look,
//! gives back what he held: his place in the list of owners is unchanged then, so it was not this machine or Redis that
//! stood still. Python workers say nothing; what they hold is taken for abandoned after the visibility timeout, as they do
//! among themselves.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use celeriac_broker::Error;
use redis::{Cmd, Value};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::error::is_passing;
use crate::hub::Hub;
use crate::restore::{self, OWNER, Returned};

/// Time between two signs of life. With the 6 s of `common.lua` a dead owner's messages come back within 9.
const BEAT: Duration = Duration::from_millis(1500);
/// Time between two looks for what nobody has renewed; one of all who are there looks.
const SWEEP: Duration = Duration::from_secs(10);
/// For how long one of us may bury a dead one alone.
const BURIAL: Duration = Duration::from_secs(10);
/// How many messages go back at a time.
const BATCH: usize = 100;

/// Shows a sign of life; returns who has shown none for long, and when they did last.
pub(crate) async fn beat(hub: &Hub, is_first: bool) -> Result<Vec<(String, String)>, Error> {
    let link = &hub.link;
    let call = link.call(&link.scripts.pulse, &[], |call| call.arg(&hub.owner).arg(u8::from(is_first)));
    let answer = call.await?;
    if answer == Value::Nil {
        let reason = "nothing was heard of us for too long: what we held is given to others";
        return Err(Error::Lost(reason.to_owned()));
    }
    let silent: Vec<String> = redis::from_redis_value(answer).unwrap_or_default();
    let pairs = silent.chunks_exact(2).filter_map(|pair| match pair {
        [owner, seen] => Some((owner.clone(), seen.clone())),
        _ => None,
    });
    Ok(pairs.filter(|(owner, _)| *owner != hub.owner).collect())
}

/// Goes on for as long as the connection is there.
pub(crate) async fn run(hub: Weak<Hub>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut suspects = HashMap::new();
    let mut swept = Instant::now();
    loop {
        ticks.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        let turn = async {
            let silent: HashMap<_, _> = beat(&hub, false).await?.into_iter().collect();
            for (owner, seen) in &silent {
                if suspects.get(owner) == Some(seen) {
                    bury(&hub, owner, seen).await?;
                }
            }
            suspects = silent;
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                sweep(&hub).await?;
            }
            Ok(())
        };
        match turn.await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                tracing::warn!("Redis does not take a sign of life for the time being: {error}");
            }
            Err(error) => return hub.lose(error),
        }
    }
}

/// Gives back what a dead owner held, and takes away what goes with him. From then on he can show no sign of life: should
/// he go on, he learns that he has lost what he held.
async fn bury(hub: &Arc<Hub>, owner: &str, seen: &str) -> Result<(), Error> {
    let Some(lock) = Lock::take(hub, hub.keys.own("burial"), BURIAL).await? else { return Ok(()) };
    let link = &hub.link;
    let condemned = link.call(&link.scripts.condemn, &[], |call| call.arg(owner).arg(seen)).await?;
    if condemned != Value::Int(1) {
        return lock.give_up().await;
    }
    let tags = tags_of(hub, owner).await?;
    let count = give_back(hub, tags, None).await?;
    link.call(&link.scripts.leave, &[], |call| call.arg(owner)).await?;
    if count > 0 {
        tracing::warn!("{owner} is gone: {count} messages that it held are back in their queues");
        hub.changed(None);
    }
    lock.give_up().await
}

/// The leases of an owner, the oldest first.
async fn tags_of(hub: &Hub, owner: &str) -> Result<Vec<String>, Error> {
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
    let mutex = hub.keys.prefixed(&options.unacked_mutex_key);
    let Some(lock) = Lock::take(hub, mutex, options.unacked_mutex_expire).await? else { return Ok(()) };
    let call = link.call(&link.scripts.overdue, &[], |call| {
        call.arg(options.visibility_timeout.as_secs_f64())
            .arg(options.unacked_restore_limit.unwrap_or(BATCH * 10))
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

/// Puts leased messages back, the oldest first to be served; with a limit only those that are older. Returns how many
/// there were.
pub(crate) async fn give_back(hub: &Hub, tags: Vec<String>, limit: Option<&str>) -> Result<i64, Error> {
    let (link, keys) = (&hub.link, &hub.keys);
    let unacked = keys.prefixed(&keys.options.unacked_key);
    let mut count = 0;
    // What goes back last is served first.
    for tags in tags.rchunks(BATCH) {
        let mut get = Cmd::new();
        get.arg("HMGET").arg(&unacked).arg(tags);
        let leases: Vec<Option<Vec<u8>>> = redis::from_redis_value(link.query(&get).await?)
            .map_err(|error| Error::NotAccepted(error.to_string()))?;
        let returned: Vec<(&String, Returned)> = tags
            .iter()
            .zip(leases)
            .rev()
            .filter_map(|(tag, lease)| match lease {
                Some(lease) => Some((tag, read(tag, &lease, hub)?)),
                // What is in the index alone goes.
                None => Some((tag, Returned::default())),
            })
            .collect();
        let call = link.call(&link.scripts.give_back, &[], |call| {
            for (tag, returned) in &returned {
                let own =
                    if tag.starts_with(OWNER) { limit.unwrap_or_default() } else { limit.unwrap_or("0") };
                call.arg(tag).arg(&returned.exchange).arg(&returned.routing_key).arg(returned.step);
                call.arg(&returned.payload).arg(own);
            }
            call
        });
        if let Value::Int(back) = call.await? {
            count += back;
        }
    }
    Ok(count)
}

fn read(tag: &str, lease: &[u8], hub: &Hub) -> Option<Returned> {
    let returned = restore::read(tag, lease, &hub.keys);
    if returned.is_none() {
        let start = String::from_utf8_lossy(lease.get(..200).unwrap_or(lease));
        tracing::error!(tag, %start, "a lease makes no sense and stays as it is");
    }
    returned
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
        let mut set = Cmd::new();
        set.arg("SET").arg(&key).arg(&token).arg("NX").arg("PX").arg(expires.as_millis().max(1).to_string());
        let taken = hub.link.query(&set).await?;
        Ok((taken != Value::Nil).then_some(Lock { hub, key, token }))
    }

    async fn give_up(self) -> Result<(), Error> {
        let link = &self.hub.link;
        link.call(&link.scripts.unlock, &[], |call| call.arg(&self.key).arg(&self.token)).await.map(drop)
    }
}
