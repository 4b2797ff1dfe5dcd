//! Sends what a signature describes: a task, a chain, a group, a chord (`celery/canvas.py`, `apply_async` of each).
//!
//! Their ids were given when the caller froze them, and are kept: the caller waits for these. A group before another
//! task of a chain came as a chord from Celery's clients.

use std::time::Duration;

use celeriac_protocol::{Map, Signature, TaskHeaders, Value};
use celeriac_results::ResultStore;
use futures_util::future::BoxFuture;

use crate::backoff::Backoff;
use crate::call::Call;
use crate::error::SendError;
use crate::producer::Producer;

/// How deep signatures may lie in each other.
const MAX_DEPTH: usize = 32;

/// Where calls are sent and chords counted, and the task that sends.
pub(crate) struct Launch<'a> {
    pub(crate) producer: &'a Producer,
    pub(crate) store: &'a dyn ResultStore,
    pub(crate) parent: &'a TaskHeaders,
}

impl Launch<'_> {
    /// Sends a signature with an argument before its own, and returns the ids of what was sent.
    ///
    /// # Errors
    /// When something of it can never be sent.
    pub(crate) async fn send(
        &self,
        signature: Signature,
        argument: &Value,
    ) -> Result<Vec<String>, SendError> {
        let mut ids = Vec::new();
        self.any(signature, std::slice::from_ref(argument), &mut ids, 0).await?;
        Ok(ids)
    }

    fn any<'a>(
        &'a self,
        signature: Signature,
        args: &'a [Value],
        ids: &'a mut Vec<String>,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            if depth > MAX_DEPTH {
                return Err(too_deep());
            }
            match signature.subtask_type.as_deref() {
                Some("chain") => self.chain(signature, args, ids, depth).await,
                Some("group") => self.group(signature, args, ids, depth).await,
                Some("chord") => self.chord(signature, args, ids, depth).await,
                Some(kind @ ("chunks" | "xmap" | "xstarmap")) => {
                    Err(SendError::Encode(format!("native tasks cannot start a {kind}")))
                }
                _ => self.task(signature, args, ids).await,
            }
        })
    }

    async fn task(
        &self,
        mut signature: Signature,
        args: &[Value],
        ids: &mut Vec<String>,
    ) -> Result<(), SendError> {
        prepend(&mut signature, args);
        let mut call = Call::from_signature(signature, None);
        let (options, parent) = (&mut call.options, self.parent);
        options.root_id = parent.root_id.clone().or_else(|| Some(parent.id.clone()));
        options.parent_id = Some(parent.id.clone());
        let id = options.task_id.take().unwrap_or_else(new_id);
        patiently(|| self.producer.send(id.clone(), call.clone())).await?;
        ids.push(id);
        Ok(())
    }

    /// The first of a chain, which carries the others.
    async fn chain(
        &self,
        mut chain: Signature,
        args: &[Value],
        ids: &mut Vec<String>,
        depth: usize,
    ) -> Result<(), SendError> {
        prepend(&mut chain, args);
        let mut tasks = splice(chain.kwargs.remove("tasks"), "chain", depth)?;
        let mut options = chain.options;
        let Some(last) = tasks.last_mut() else { return Ok(()) };
        // Who waits for the chain waits for its last.
        for key in ["task_id", "group_id", "group_index", "chord", "chain"] {
            if let Some(value) = options.remove(key) {
                fill(&mut last.options, key, value);
            }
        }
        extend(&mut last.options, "link", options.remove("link"));
        if let Some(errbacks) = options.remove("link_error") {
            for task in &mut tasks {
                extend(&mut task.options, "link_error", Some(errbacks.clone()));
            }
        }
        let mut first = tasks.remove(0);
        if !tasks.is_empty() {
            let later = tasks.into_iter().rev().map(Signature::into_value).collect::<Vec<_>>();
            first.options.insert("chain", later);
        }
        for (key, value) in options {
            first.options.insert(key, value);
        }
        self.any(first, &chain.args, ids, depth + 1).await
    }

    async fn group(
        &self,
        mut group: Signature,
        args: &[Value],
        ids: &mut Vec<String>,
        depth: usize,
    ) -> Result<(), SendError> {
        if group.options.get("chain").is_some_and(Value::is_true) {
            return Err(SendError::Encode(
                "native tasks cannot start a group that a chain goes on after".into(),
            ));
        }
        prepend(&mut group, args);
        let members = splice(group.kwargs.remove("tasks"), "group", depth)?;
        let id = text(&group.options, "task_id").unwrap_or_else(new_id);
        let body = group.options.remove("chord").filter(|body| !body.is_null());
        let place = |options: &mut Map, index: i64| {
            // Who froze it as a part of something larger counts it there.
            fill(options, "group_id", id.as_str());
            fill(options, "group_index", index);
            if let Some(body) = &body {
                fill(options, "chord", body.clone());
            }
        };
        self.members(members, place, &group.args, ids, depth).await
    }

    /// The header of a chord, whose parts carry the body.
    async fn chord(
        &self,
        mut chord: Signature,
        args: &[Value],
        ids: &mut Vec<String>,
        depth: usize,
    ) -> Result<(), SendError> {
        prepend(&mut chord, args);
        let body = chord.kwargs.remove("body").map(Signature::from_value);
        let Some(Ok(mut body)) = body else {
            return Err(SendError::Encode("native tasks cannot start a chord without a body".into()));
        };
        let (members, id) = match chord.kwargs.remove("header").map(Signature::from_value) {
            Some(Ok(mut header)) => {
                let id = text(&header.options, "task_id");
                (splice(header.kwargs.remove("tasks"), "group", depth)?, id)
            }
            _ => return Err(SendError::Encode("native tasks cannot start a chord without a header".into())),
        };
        // What waits for the chord waits for its body.
        for (key, value) in chord.options {
            if key != "task_id" || text(&body.options, "task_id").is_none() {
                body.options.insert(key, value);
            }
        }
        // Should it never be called, that is told of its id.
        fill(&mut body.options, "task_id", new_id());
        let size = members.iter().map(|member| size(member, depth)).sum::<Result<_, _>>()?;
        if size == 0 {
            let none = [Value::List(Vec::new())];
            return self.any(body, &none, ids, depth + 1).await;
        }
        let (id, body) = (id.unwrap_or_else(new_id), body.into_value());
        patiently(|| async { Ok(self.store.set_chord_size(&id, size).await?) }).await?;
        let place = |options: &mut Map, index: i64| {
            fill(options, "group_id", id.as_str());
            options.insert("group_index", index);
            options.insert("chord", body.clone());
        };
        self.members(members, place, &chord.args, ids, depth).await
    }

    /// Sends the members of a group or header, each told its place.
    async fn members(
        &self,
        members: Vec<Signature>,
        place: impl Fn(&mut Map, i64) + Send + Sync,
        args: &[Value],
        ids: &mut Vec<String>,
        depth: usize,
    ) -> Result<(), SendError> {
        for (index, mut member) in (0..).zip(members) {
            place(&mut member.options, index);
            self.any(member, args, ids, depth + 1).await?;
        }
        Ok(())
    }
}

/// How many parts of a chord a member of its header is: only who ends last counts (`celery/canvas.py`, `_descend`).
fn size(member: &Signature, depth: usize) -> Result<usize, SendError> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let inner = |key: &str| member.kwargs.get(key).cloned().map(Signature::from_value);
    match member.subtask_type.as_deref() {
        Some("chord") => inner("body").and_then(Result::ok).map_or(Ok(1), |body| size(&body, depth + 1)),
        Some("chain") => {
            let tasks = splice(member.kwargs.get("tasks").cloned(), "chain", depth)?;
            tasks.last().map_or(Ok(0), |last| size(last, depth + 1))
        }
        _ if is_empty_group(member) => Ok(0),
        // Celery would nest its results in those of the header.
        Some("group") => Err(SendError::Encode(
            "native tasks cannot start a chord with a group behind another task".into(),
        )),
        _ => Ok(1),
    }
}

/// The tasks of a group or chain; those of one of the same kind in it take its place. A chain goes on past an empty group,
/// as since Celery 5.7: before, a chord that counted on its last waited for ever.
fn splice(tasks: Option<Value>, kind: &str, depth: usize) -> Result<Vec<Signature>, SendError> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let mut all = Vec::new();
    for mut task in signatures(tasks) {
        if task.subtask_type.as_deref() == Some(kind) {
            let (args, inner) = (std::mem::take(&mut task.args), task.kwargs.remove("tasks"));
            let mut inner = splice(inner, kind, depth + 1)?;
            let takes = if kind == "chain" { 1 } else { inner.len() };
            inner.iter_mut().take(takes).for_each(|task| prepend(task, &args));
            all.extend(inner);
        } else if kind != "chain" || !is_empty_group(&task) {
            all.push(task);
        }
    }
    Ok(all)
}

fn is_empty_group(signature: &Signature) -> bool {
    let tasks = || signature.kwargs.get("tasks");
    signature.subtask_type.as_deref() == Some("group")
        && tasks().and_then(Value::as_list).is_none_or(|tasks| tasks.is_empty())
}

fn too_deep() -> SendError {
    SendError::Encode(format!("signatures lie more than {MAX_DEPTH} deep"))
}

/// Arguments before its own, unless it is immutable.
fn prepend(signature: &mut Signature, args: &[Value]) {
    if !signature.immutable {
        signature.args.splice(..0, args.iter().cloned());
    }
}

/// The signatures in a list; what is none is passed over.
pub(crate) fn signatures(tasks: Option<Value>) -> Vec<Signature> {
    match tasks {
        Some(Value::List(tasks)) => {
            tasks.into_iter().filter_map(|task| Signature::from_value(task).ok()).collect()
        }
        _ => Vec::new(),
    }
}

/// Adds to an option that is one signature or a list of them.
fn extend(options: &mut Map, key: &'static str, more: Option<Value>) {
    let list = |value| match value {
        Some(Value::List(items)) => items,
        Some(Value::Null) | None => Vec::new(),
        Some(single) => vec![single],
    };
    let more = list(more);
    if !more.is_empty() {
        let mut all = list(options.remove(key));
        all.extend(more);
        options.insert(key, all);
    }
}

/// Sets an option that is not set.
fn fill(options: &mut Map, key: &'static str, value: impl Into<Value>) {
    if options.get(key).is_none_or(Value::is_null) {
        options.insert(key, value);
    }
}

fn text(options: &Map, key: &str) -> Option<String> {
    options.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Sends until it is sent: what a task has led to must not be lost because the broker is away. A cold shutdown
/// ends the wait together with the task.
///
/// # Errors
/// When trying again does not help.
pub(crate) async fn patiently<F>(mut send: impl FnMut() -> F) -> Result<(), SendError>
where
    F: Future<Output = Result<(), SendError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        match send().await {
            Err(error) if error.is_recoverable() => {
                tracing::warn!("Cannot send a task, trying again: {error}");
                tokio::time::sleep(backoff.next()).await;
            }
            outcome => return outcome,
        }
    }
}
