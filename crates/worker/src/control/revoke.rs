//! Keeping tasks from running, and ending those that do.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use celeriac_protocol::{Map, Value, repr};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::arguments::{Arguments, cut, maybe_list, no_attribute, type_name};
use super::command::{CommandError, ok, other};
use super::signal::signum;
use crate::consumer::Consumer;
use crate::request::{Facts, Stage};
use crate::revokes::items;
use crate::wall::now;

/// How many ids may wait to be stored as revoked; more are not stored, but still do not run.
const WAITING: usize = 50_000;
/// How many of them are stored at once.
const AT_ONCE: usize = 64;
/// How many stamps one request may revoke.
const STAMPS: usize = 1000;
/// How many ids the log and an answer list.
const SHOWN: usize = 1000;

pub(super) fn revoked(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let mut ids = consumer.revokes.ids();
    ids.purge(now());
    Ok(Value::List(ids.iter().map(|(id, _)| id.into()).collect()))
}

pub(super) fn revoke(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let ids = ids(arguments.take("task_id"))?;
    let terminate = arguments.flag("terminate");
    revoke_ids(consumer, ids, terminate.then(|| arguments.take("signal")))
}

pub(super) fn terminate(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let ids = ids(arguments.take("task_id"))?;
    revoke_ids(consumer, ids, Some(arguments.take("signal")))
}

/// As in Celery, a signal that is none is told after the tasks were revoked.
fn revoke_ids(
    consumer: &Arc<Consumer>,
    ids: Vec<String>,
    signal: Option<Value>,
) -> Result<Value, CommandError> {
    let now = now();
    consumer.revokes.change_ids(|revoked| {
        for id in &ids {
            revoked.revoke(id, now);
        }
    });
    let signal = signal.map(|signal| signum(&signal)).transpose();
    let ends = matches!(signal, Ok(Some(_)));
    let tells_itself = |id: &str| {
        let facts = consumer.requests.find(id);
        facts.is_some_and(|facts| is_active(&facts) && facts.policy.store_errors)
    };
    let unheard = ids.iter().filter(|id| !(ends && tells_itself(id))).cloned().collect();
    let backend = consumer.backend.clone();
    consumer.commands.marks.store(unheard, move |id| {
        let backend = backend.clone();
        async move { backend.mark_revoked(&id).await }
    });

    let Some(signal) = signal? else {
        tracing::info!("Tasks flagged as revoked: {}", joined(&ids, str::to_owned));
        let shown = if ids.is_empty() {
            "set()".to_owned()
        } else {
            format!("{{{}}}", joined(&ids, |id| repr::value(&id.into())))
        };
        return ok(format!("tasks {shown} flagged as revoked"));
    };
    let mut terminated = Vec::new();
    for facts in ids.iter().filter_map(|id| consumer.requests.find(id)) {
        tracing::info!("Terminating {} ({signal})", facts.headers.id);
        consumer.executor.terminate(&facts, signal);
        terminated.push(facts.headers.id.clone());
    }
    if terminated.is_empty() {
        return ok("terminate: tasks unknown");
    }
    ok(format!("terminate: {}", joined(&terminated, str::to_owned)))
}

pub(super) fn revoke_by_stamped_headers(
    consumer: &Arc<Consumer>,
    mut arguments: Arguments,
) -> Result<Value, CommandError> {
    let signal = signum(&arguments.take("signal"))?;
    let headers = stamped_headers(arguments.take("headers"))?;
    let count: usize = headers.iter().map(|(_, stamps)| items(stamps).len()).sum();
    if count > STAMPS {
        return Err(CommandError::Value(format!("more than {STAMPS} stamps: {count}")));
    }
    if let Some((header, _)) = headers.iter().find(|(_, stamps)| stamps.is_null()) {
        return Err(CommandError::Argument(format!("the stamps of '{}' must not be None", cut(header))));
    }
    for (header, stamps) in headers.iter() {
        consumer.revokes.add_stamp(header, items(stamps));
    }
    let shown = repr::value(&Value::Map(headers.clone()));
    if !arguments.flag("terminate") {
        return ok(format!("headers {shown} flagged as revoked, but not terminated"));
    }
    let mut terminated: Vec<(&str, Vec<Value>)> = Vec::new();
    for facts in consumer.requests.at(Stage::Active) {
        for (header, stamps) in headers.iter() {
            let carried = facts.headers.stamps.get(header).map(items).unwrap_or_default();
            let found: Vec<_> = items(stamps).iter().filter(|stamp| carried.contains(stamp)).collect();
            if found.is_empty() {
                continue;
            }
            consumer.executor.terminate(&facts, signal);
            let place = terminated.iter().position(|(known, _)| *known == header).unwrap_or_else(|| {
                terminated.push((header, Vec::new()));
                terminated.len() - 1
            });
            let known = &mut terminated[place].1;
            for stamp in found {
                if !known.contains(stamp) {
                    known.push(stamp.clone());
                }
            }
        }
    }
    if terminated.is_empty() {
        return ok(format!("headers {shown} were not terminated"));
    }
    // Celery shows its `defaultdict`.
    let sets = terminated.iter().map(|(header, stamps)| {
        let stamps: Vec<_> = stamps.iter().map(repr::value).collect();
        format!("{}: {{{}}}", repr::value(&(*header).into()), stamps.join(", "))
    });
    let sets: Vec<_> = sets.collect();
    ok(format!("headers defaultdict(<class 'set'>, {{{}}}) revoked", sets.join(", ")))
}

fn is_active(facts: &Facts) -> bool {
    facts.progress.stage() == Stage::Active
}

/// The ids of a list, or the one id, each once.
fn ids(value: Value) -> Result<Vec<String>, CommandError> {
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    for id in maybe_list(value) {
        let Value::String(id) = id else {
            let text = format!("a task id must be str, not {}", type_name(&id));
            return Err(CommandError::Argument(text));
        };
        if seen.insert(id.clone()) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Stamps by header: a dict, or a list of `header=stamp`.
fn stamped_headers(value: Value) -> Result<Map, CommandError> {
    let items = match value {
        Value::Map(headers) => return Ok(headers),
        Value::List(items) => items,
        other => return Err(no_attribute(&other, "items")),
    };
    let entry = |item: Value| {
        let Value::String(item) = item else { return Err(no_attribute(&item, "split")) };
        let mut parts = item.split('=');
        let (header, stamp) = (parts.next().unwrap_or_default(), parts.next());
        let stamp = stamp.ok_or_else(|| other("IndexError", "list index out of range"))?;
        Ok((header.to_owned(), Value::from(stamp)))
    };
    items.into_iter().map(entry).collect()
}

fn joined(ids: &[String], write: impl Fn(&str) -> String) -> String {
    let shown = ids.iter().take(SHOWN).map(|id| write(cut(id)));
    let more = (ids.len() > SHOWN).then(|| "...".to_owned());
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

/// Revoked tasks on their way to the result store, which may be away.
pub(super) struct Marks(Arc<Semaphore>);

impl Default for Marks {
    fn default() -> Self {
        Marks(Arc::new(Semaphore::new(WAITING)))
    }
}

impl Marks {
    /// Has the tasks stored as revoked, soon, by what marks one.
    fn store<F>(&self, ids: Vec<String>, mark: impl Fn(String) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let Ok(place) = self.0.clone().try_acquire_many_owned(count) else {
            return tracing::warn!(
                "Failed to mark {count} tasks as revoked in backend: too many wait for it"
            );
        };
        tokio::spawn(async move {
            let mark = &mark;
            let marking = stream::iter(ids).for_each_concurrent(AT_ONCE, |id| async move {
                if let Err(error) = mark(id.clone()).await {
                    tracing::warn!("Failed to mark task {} as revoked in backend: {error}", cut(&id));
                }
            });
            marking.await;
            drop(place);
        });
    }
}
