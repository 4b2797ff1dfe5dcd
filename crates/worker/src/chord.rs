//! The parts of chords: they are counted in the result store, and the last calls the body
//! (`celery/backends/redis.py`, `on_chord_part_return`).

use std::collections::HashMap;

use celeriac_protocol::result::Exception;
use celeriac_protocol::{Signature, State, TaskHeaders, TaskMeta, Value, time};
use celeriac_results::{ChordHeader, ChordPart};
use chrono::Utc;

use crate::followup;
use crate::launch::Launch;
use crate::trace::Tracer;

/// A task that belongs to a chord's header, and the chord's body.
pub(crate) struct Part<'a> {
    pub(crate) id: &'a str,
    pub(crate) group: &'a str,
    pub(crate) index: Option<i64>,
    pub(crate) redelivered: bool,
    pub(crate) body: Signature,
}

/// Counts a part that has ended. The last one calls the body with the results of all, or tells the body's errbacks what
/// went wrong. That comes before the part's own message is settled: should the worker die between, it is done again.
pub(crate) async fn ended(
    tracer: &Tracer,
    launch: &Launch<'_>,
    part: Part<'_>,
    state: &State,
    result: &Value,
) {
    let Part { id, group, index, redelivered, body } = part;
    let part = ChordPart { group, index, id, state, result, redelivered };
    let header = match tracer.retry.insist(id, || tracer.store.chord_part(&part)).await {
        Ok(Some(header)) => header,
        Ok(None) => return,
        Err(error) => {
            tracing::error!("{id} is not counted in the chord {group}: {error}");
            if error.is_recoverable() {
                return;
            }
            return fail(tracer, launch, group, &body, format!("Join error: {error}").into()).await;
        }
    };
    match join(tracer, header).await {
        Ok(results) => {
            if let Err(error) = launch.send(body.clone(), &results).await {
                fail(tracer, launch, group, &body, format!("Callback error: {error}").into()).await;
            }
        }
        Err(why) => fail(tracer, launch, group, &body, why).await,
    }
    if let Err(error) = tracer.retry.insist(group, || tracer.store.chord_done(group)).await {
        tracing::error!("What was counted for the chord {group} stays: {error}");
    }
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
    let absent = leaves(&saved).into_iter().filter(|id| !parts.contains_key(*id));
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

/// `((id, parent), members)`: of a task there are no members (`celery/result.py`, `as_tuple`).
fn members(saved: &Value) -> Option<&[Value]> {
    saved.as_list()?.get(1)?.as_list()
}

fn id(saved: &Value) -> Option<&str> {
    let first = saved.as_list()?.first()?;
    first.as_str().or_else(|| first.as_list()?.first()?.as_str())
}

fn leaves(saved: &Value) -> Vec<&str> {
    match members(saved) {
        Some(members) => members.iter().flat_map(leaves).collect(),
        None => id(saved).into_iter().collect(),
    }
}

fn nested(saved: &Value, parts: &HashMap<String, TaskMeta>) -> Result<Value, Why> {
    if let Some(members) = members(saved) {
        return members
            .iter()
            .map(|member| nested(member, parts))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List);
    }
    let part = id(saved).and_then(|id| parts.get(id));
    let part = part.ok_or_else(|| "Join error: what was saved of its header is no result".to_owned())?;
    match part.exception() {
        Some(exception) => Err(format!("Join error: {}", exception.repr()).into()),
        None => Ok(part.result.clone()),
    }
}

/// Tells who waits for the body that it is never called, and its errbacks (`celery/backends/base.py`,
/// `chord_error_from_stack`; for the members of a group it stores the part's own error).
async fn fail(tracer: &Tracer, launch: &Launch<'_>, group: &str, body: &Signature, why: Why) {
    let Why { reason, cause } = why;
    tracing::error!("Chord {group} raised: {reason}");
    let is_group = body.subtask_type.as_deref() == Some("group");
    let exception = cause.filter(|_| is_group);
    let exception = exception.unwrap_or_else(|| Exception::new("ChordError", "celery.exceptions", reason));
    let own = body.options.get("task_id").and_then(Value::as_str);
    let members = body.kwargs.get("tasks").and_then(Value::as_list).filter(|_| is_group).unwrap_or_default();
    let options = members.iter().filter_map(|member| member.as_map()?.get("options")?.as_map());
    let members = options.filter_map(|options| options.get("task_id")?.as_str());
    for id in members.chain(own) {
        if !is_group || Some(id) != own {
            let parent = TaskHeaders::new(body.task.as_str(), id);
            let launch = Launch { parent: &parent, ..*launch };
            followup::after_failure(&launch, id, errbacks(body)).await;
        }
        let mut meta = TaskMeta::failure(id, exception.clone(), None);
        meta.date_done = Some(time::iso(Utc::now()));
        if let Err(error) = tracer.retry.insist(id, || tracer.store.store(&meta, None)).await {
            tracing::error!("Cannot store the result of {}[{id}]: {error}", body.task);
        }
    }
}

fn errbacks(body: &Signature) -> Vec<Signature> {
    match body.options.get("link_error") {
        Some(Value::List(all)) => {
            all.iter().filter_map(|one| Signature::from_value(one.clone()).ok()).collect()
        }
        Some(one) => Signature::from_value(one.clone()).into_iter().collect(),
        None => Vec::new(),
    }
}
