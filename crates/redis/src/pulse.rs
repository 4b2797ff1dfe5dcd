//! Signs of life: who takes leases says every other second that he lives. Nothing else is done here, so that nothing
//! delays them. Python workers say nothing.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use celeriac_broker::Error;
use redis::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::is_passing;
use crate::hub::Hub;

/// Time between two signs of life. With the 6 s of `common.lua` a dead owner's messages come back within 9.
const BEAT: Duration = Duration::from_millis(1500);

/// Owners that gave no sign of life for long, and when they did last.
pub(crate) type Silent = HashMap<String, String>;

/// Shows a sign of life; returns who has shown none for long, and when they did last.
pub(crate) async fn beat(hub: &Hub, is_first: bool) -> Result<Silent, Error> {
    let link = &hub.link;
    let call = link.call(&link.scripts.pulse, &[], |call| call.arg(&hub.owner).arg(u8::from(is_first)));
    let answer = call.await?;
    if answer == Value::Nil {
        return Err(hub.buried());
    }
    let silent: Vec<String> = redis::from_redis_value(answer).unwrap_or_default();
    let pairs = silent.chunks_exact(2).filter_map(|pair| match pair {
        [owner, seen] => Some((owner.clone(), seen.clone())),
        _ => None,
    });
    Ok(pairs.filter(|(owner, _)| *owner != hub.owner).collect())
}

/// Goes on for as long as the connection is there. Whoever is silent, and still at the next beat, is handed on as dead: his
/// place in the list of owners is unchanged then, so it was not this machine or Redis that stood still.
pub(crate) async fn run(hub: Weak<Hub>, dead: mpsc::Sender<Silent>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut suspects = Silent::new();
    loop {
        ticks.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        match beat(&hub, false).await {
            Ok(silent) => {
                let still: Silent = silent
                    .iter()
                    .filter(|(owner, seen)| suspects.get(*owner) == Some(seen))
                    .map(|(owner, seen)| (owner.clone(), seen.clone()))
                    .collect();
                // While others are buried, these wait: they are as silent at the next beat.
                if !still.is_empty() {
                    let _ = dead.try_send(still);
                }
                suspects = silent;
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!("Redis does not take a sign of life for the time being: {error}");
            }
            Err(error) => return hub.lose(error),
        }
    }
}
