//! The parts of chords: they are counted in the result store, and the last calls the body
//! (`celery/backends/redis.py`, `on_chord_part_return`).

use std::collections::HashMap;

use celeriac_protocol::result::Exception;
use celeriac_protocol::{Signature, State, TaskHeaders, TaskMeta, Value, time};
use celeriac_results::{ChordHeader, ChordPart, Saved};
use chrono::Utc;

use crate::followup;
use crate::launch::{Launch, signatures};
use crate::trace::Tracer;

/// A task that belongs to a chord's header, and the chord's body.
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) index: Option<i64>,
    pub(crate) redelivered: bool,
    /// Whether the message is whose end this is, so that it does not run again.
    pub(crate) settled: bool,
    pub(crate) body: Signature,
}

impl Part {
    /// A task that is never sent, if it belongs to a header.
    pub(crate) fn of(signature: &Signature, redelivered: bool, settled: bool) -> Option<Self> {
        let text = |key: &str| signature.options.get(key).and_then(Value::as_str).map(str::to_owned);
        let index = signature.options.get("group_index").and_then(Value::as_i64);
        let body = Signature::from_value(signature.options.get("chord")?.clone()).ok()?;
        Some(Part { id: text("task_id")?, group: text("group_id")?, index, redelivered, settled, body })
    }
}

/// Counts a part that has ended. The last one calls the body with the results of all, or tells the body's errbacks what
/// went wrong. That comes before the part's own message is settled: should the worker die between, it is done again.
///
/// Returns false when the part is not counted and should run again for that; one that cannot fails the chord, which
/// would wait for it for ever. (Celery acknowledges it, and nobody hears of the chord again.)
pub(crate) async fn ended(
    tracer: &Tracer,
    launch: &Launch<'_>,
    part: Part,
    state: &State,
    result: &Value,
) -> bool {
    let mut whole = Vec::new();
    let Some(mut failed) = count(tracer, launch, &part, state, result, &mut whole).await else {
        return false;
    };
    // A body that is never called may be a part of another chord (which in Celery waits for it for ever).
    while let Some((part, meta)) = failed.pop() {
        match count(tracer, launch, &part, &meta.state, &meta.result, &mut whole).await {
            Some(more) => failed.extend(more),
            None => return false,
        }
    }
    for group in whole {
        if let Err(error) = tracer.retry.insist(&group, || tracer.store.chord_done(&group)).await {
            tracing::error!("What was counted for the chord {group} stays: {error}");
        }
    }
    true
}

/// Counts one, notes its chord if all of it has ended, and returns what has failed with it; nothing when it could not be
/// counted.
async fn count(
    tracer: &Tracer,
    launch: &Launch<'_>,
    part: &Part,
    state: &State,
    result: &Value,
    whole: &mut Vec<String>,
) -> Option<Vec<(Part, TaskMeta)>> {
    let Part { id, group, index, redelivered, settled, .. } = part;
    // A store that gave no answer may have counted it.
    let mut again = *redelivered;
    let count = move || {
        let again = std::mem::replace(&mut again, true);
        let part = ChordPart { group, index: *index, id, state, result, again };
        async move { tracer.store.chord_part(&part).await }
    };
    let header = match tracer.retry.insist(id, count).await {
        Ok(Some(header)) => header,
        Ok(None) => return Some(Vec::new()),
        Err(error) => {
            tracing::error!("{id} is not counted in the chord {group}: {error}");
            if error.is_recoverable() && !settled {
                return None;
            }
            return Some(fail(tracer, launch, part, format!("Join error: {error}").into()).await);
        }
    };
    whole.push(group.clone());
    let why = match join(tracer, header).await {
        Ok(results) => match launch.send(part.body.clone(), &results).await {
            Ok(_) => return Some(Vec::new()),
            Err(error) => format!("Callback error: {error}").into(),
        },
        Err(why) => why,
    };
    Some(fail(tracer, launch, part, why).await)
}

/// Why a body is not called.
struct Why {
    reason: String,
    /// The error of the part that failed.
    cause: Option<Exception>,
}

impl From<String> for Why {
    fn from(reason: String) -> Self {
        Why { reason, cause: None }
    }
}

/// The results of a header, nested as its groups are; or why there are none.
async fn join(tracer: &Tracer, header: ChordHeader) -> Result<Value, Why> {
    let ChordHeader { parts, saved } = header;
    let Some(saved) = saved else {
        let result = |part: TaskMeta| match part.exception() {
            Some(exception) => {
                let reason = format!("Dependency {} raised {}", part.id, exception.repr());
                Err(Why { reason, cause: Some(exception) })
            }
            None => Ok(part.result),
        };
        return parts.into_iter().map(result).collect::<Result<Vec<_>, _>>().map(Value::List);
    };
    let mut parts: HashMap<_, _> = parts.into_iter().map(|part| (part.id.clone(), part)).collect();
    let absent = Saved::ids(&saved).into_iter().filter(|id| !parts.contains_key(*id));
    let absent: Vec<_> = absent.map(str::to_owned).collect();
    if !absent.is_empty() {
        // What ended in another way than by its own end has its result in the store.
        let wait = futures_util::future::try_join_all(absent.iter().map(|id| tracer.store.wait(id)));
        let found = tokio::time::timeout(tracer.chord_join_timeout, wait).await;
        let found = found.map_err(|_| "Join error: TimeoutError('The operation timed out.')".to_owned())?;
        let found = found.map_err(|error| format!("Join error: {error}"))?;
        parts.extend(found.into_iter().map(|meta| (meta.id.clone(), meta)));
    }
    nested(&saved, &parts)
}

fn nested(saved: &Value, parts: &HashMap<String, TaskMeta>) -> Result<Value, Why> {
    let part = match Saved::read(saved) {
        Some(Saved::Group(members)) => {
            let members = members.iter().map(|member| nested(member, parts));
            return members.collect::<Result<Vec<_>, _>>().map(Value::List);
        }
        Some(Saved::Result(id)) => parts.get(id),
        None => None,
    };
    let part = part.ok_or_else(|| "Join error: what was saved of its header is no result".to_owned())?;
    match part.exception() {
        Some(exception) => Err(format!("Join error: {}", exception.repr()).into()),
        None => Ok(part.result.clone()),
    }
}

/// Tells who waits for the body that it is never called, and its errbacks (`celery/backends/base.py`,
/// `chord_error_from_stack`; for the members of a group it stores the part's own error). Returns those that count in
/// another chord.
async fn fail(tracer: &Tracer, launch: &Launch<'_>, part: &Part, why: Why) -> Vec<(Part, TaskMeta)> {
    let Why { reason, cause } = why;
    let body = &part.body;
    tracing::error!("Chord {} raised: {reason}", part.group);
    let is_group = body.subtask_type.as_deref() == Some("group");
    let exception = cause.filter(|_| is_group);
    let exception = exception.unwrap_or_else(|| Exception::new("ChordError", "celery.exceptions", reason));
    let tasks = signatures(body.kwargs.get("tasks").cloned());
    let members = if is_group { tasks.as_slice() } else { &[] };
    let mut failed = Vec::new();
    for one in members.iter().chain([body]) {
        // Of a group its members are what is waited for.
        let is_task = !is_group || !std::ptr::eq(one, body);
        let Some(id) = one.options.get("task_id").and_then(Value::as_str) else { continue };
        if is_task {
            let parent = TaskHeaders::new(body.task.as_str(), id);
            let launch = Launch { parent: &parent, ..*launch };
            followup::after_failure(&launch, id, errbacks(body)).await;
        }
        let mut meta = TaskMeta::failure(id, exception.clone(), None);
        meta.date_done = Some(time::iso(Utc::now()));
        let stored = if part.settled {
            tracer.store.hold(&meta, None).await
        } else {
            tracer.retry.insist(id, || tracer.store.store(&meta, None)).await
        };
        if let Err(error) = stored {
            tracing::error!("Cannot store the result of {}[{id}]: {error}", body.task);
        }
        // Of a chain its last counts, unless the chain itself is told its place.
        let last = if body.subtask_type.as_deref() == Some("chain") { tasks.last() } else { None };
        if is_task {
            let counted = [last, Some(one)].into_iter().flatten();
            let counts = counted.filter_map(|one| Part::of(one, part.redelivered, part.settled)).next();
            failed.extend(counts.map(|counts| (counts, meta)));
        }
    }
    failed
}

fn errbacks(body: &Signature) -> Vec<Signature> {
    match body.options.get("link_error") {
        Some(Value::List(all)) => signatures(Some(Value::List(all.clone()))),
        Some(one) => Signature::from_value(one.clone()).into_iter().collect(),
        None => Vec::new(),
    }
}
