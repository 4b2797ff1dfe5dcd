//! Leases that go back to their queues.

use celeriac_broker::Error;
use redis::{Cmd, Value};

use crate::hub::Hub;
use crate::restore::{self, OWNER, Returned};

/// How many messages go back at a time.
const BATCH: usize = 100;

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
