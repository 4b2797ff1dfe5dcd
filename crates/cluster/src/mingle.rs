//! What neighbours tell each other when a worker starts: clocks and revokes (`celery/worker/consumer/mingle.py`).
//!
//! The driver of a worker that starts broadcasts the control command `hello` with the arguments of [`hello`], collects
//! the replies for a second at most, and hands them to [`sync`]. A worker that is asked `hello` takes over with [`hear`]
//! what it is told, and replies with [`answer`].
//!
//! Celery stamps revokes by each host's *monotonic* clock, so a peer's stamps mean nothing here: what is new is
//! stamped by our wall clock when it comes, and what is known keeps its stamp. Ours go out with stamps by which the
//! peer neither drops them as expired nor raises at an integer.

#[cfg(test)]
mod tests;

use celeriac_protocol::clock::LamportClock;
use celeriac_protocol::revoked::{REVOKES_MAX, Revoked};
use celeriac_protocol::{Map, Value};

/// The most wrong replies that are told.
const MAX_ERRORS: usize = 100;

/// A peer's message that cannot be used; what else it holds is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MingleError {
    /// A part has another type than Celery gives it; it is left out.
    #[error("{part} must be {wanted}, not {found}")]
    Type {
        /// Which part.
        part: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// What came of asking the neighbours.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// How many others replied; none means all alone.
    pub replied: usize,
    /// How many of them had something to tell: Celery's `sync with N nodes`.
    pub nodes: usize,
    /// Which replies were wrong, by node: the first hundred.
    pub errors: Vec<(String, MingleError)>,
}

impl Synced {
    fn fail(&mut self, node: String, error: MingleError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push((node, error));
        }
    }
}

/// The arguments of our own `hello`.
///
/// `monotonic` is our monotonic clock in seconds, all that is known here of the peers' clocks.
pub fn hello(hostname: &str, revoked: &Revoked, monotonic: f64) -> Map {
    Map::from_iter([("from_node", hostname.into()), ("revoked", stamped(revoked, monotonic))])
}

/// Takes over what neighbours replied to our `hello`: pairs of a node and its value. May be called for each reply as it
/// comes; `synced` tells of all. `now` is wall clock, in seconds.
pub fn sync(
    synced: &mut Synced,
    hostname: &str,
    replies: impl IntoIterator<Item = (String, Value)>,
    clock: &LamportClock,
    revoked: &mut Revoked,
    now: f64,
) {
    for (node, reply) in replies.into_iter().filter(|(node, _)| node != hostname) {
        synced.replied += 1;
        on_node_reply(synced, node, &reply, clock, revoked, now);
    }
}

fn on_node_reply(
    synced: &mut Synced,
    node: String,
    reply: &Value,
    clock: &LamportClock,
    revoked: &mut Revoked,
    now: f64,
) {
    match reply {
        Value::Null => {}
        Value::Map(reply) if reply.is_empty() => {}
        Value::Map(reply) => {
            synced.nodes += 1;
            let errors = sync_with_node(reply, clock, revoked, now);
            errors.into_iter().flatten().for_each(|error| synced.fail(node.clone(), error));
        }
        other => synced.fail(node, wrong("reply", "dict", other)),
    }
}

/// A part that is wrong does not spoil the other.
fn sync_with_node(
    reply: &Map,
    clock: &LamportClock,
    revoked: &mut Revoked,
    now: f64,
) -> [Option<MingleError>; 2] {
    let clock = on_clock_event(clock, reply.get("clock"));
    let revoked = on_revoked_received(revoked, reply.get("revoked"), now);
    [clock.err(), revoked.err()]
}

/// Takes over the revokes of a neighbour's `hello`, none when it is our own. A wrong list of them is told, and does not
/// keep the `hello` from being answered. `now` is wall clock, in seconds.
///
/// # Errors
/// When `from_node` is no text.
pub fn hear(
    hostname: &str,
    arguments: &Map,
    revoked: &mut Revoked,
    now: f64,
) -> Result<Option<MingleError>, MingleError> {
    if from_node(arguments)? == hostname {
        return Ok(None);
    }
    Ok(on_revoked_received(revoked, arguments.get("revoked"), now).err())
}

/// The reply to a neighbour's `hello`, whose revokes [`hear`] takes over; `None` when it is our own. `now` is wall
/// clock, `monotonic` our monotonic clock, both in seconds.
///
/// # Errors
/// When `from_node` is no text.
pub fn answer(
    hostname: &str,
    arguments: &Map,
    clock: &LamportClock,
    revoked: &mut Revoked,
    now: f64,
    monotonic: f64,
) -> Result<Option<Value>, MingleError> {
    if from_node(arguments)? == hostname {
        return Ok(None);
    }
    revoked.purge(now);
    let stamp = newest(arguments.get("revoked")).map_or(monotonic, |newest| newest.max(monotonic));
    let reply = [("revoked", stamped(revoked, stamp)), ("clock", clock.forward().into())];
    Ok(Some(Map::from_iter(reply).into()))
}

fn from_node(arguments: &Map) -> Result<&str, MingleError> {
    let from = arguments.get("from_node").unwrap_or(&Value::Null);
    from.as_str().ok_or_else(|| wrong("from_node", "str", from))
}

/// Ids with one stamp for all. It must be a float: a Python peer raises at an integer.
fn stamped(revoked: &Revoked, stamp: f64) -> Value {
    revoked.iter().map(|(id, _)| (id.to_owned(), Value::Float(stamp))).collect::<Map>().into()
}

fn on_clock_event(clock: &LamportClock, theirs: Option<&Value>) -> Result<(), MingleError> {
    match theirs {
        Some(Value::Int(value)) if *value > 0 => clock.adjust(value.unsigned_abs()),
        None | Some(Value::Null | Value::Int(_)) => clock.forward(),
        Some(other) => return Err(wrong("clock", "int", other)),
    };
    Ok(())
}

/// The newest are at the end of Python's dict, so these are taken when there are more than a set may hold.
fn on_revoked_received(revoked: &mut Revoked, theirs: Option<&Value>, now: f64) -> Result<(), MingleError> {
    let ids: Vec<&str> = match theirs {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Map(ids)) => ids.iter().map(|(id, _)| id).collect(),
        Some(Value::List(ids)) => ids.iter().filter_map(Value::as_str).collect(),
        Some(other) => return Err(wrong("revoked", "dict", other)),
    };
    for id in &ids[ids.len().saturating_sub(REVOKES_MAX)..] {
        revoked.add(id, now);
    }
    Ok(())
}

/// The newest stamp of a dict of revokes, whose values are `stamp` or `[stamp, id]`.
fn newest(theirs: Option<&Value>) -> Option<f64> {
    let stamp = |value: &Value| match value {
        Value::List(pair) => pair.first().and_then(Value::as_f64),
        stamp => stamp.as_f64(),
    };
    theirs?
        .as_map()?
        .iter()
        .filter_map(|(_, value)| stamp(value))
        .filter(|stamp| stamp.is_finite())
        .reduce(f64::max)
}

fn wrong(part: &'static str, wanted: &'static str, found: &Value) -> MingleError {
    MingleError::Type { part, wanted, found: found.type_name() }
}
