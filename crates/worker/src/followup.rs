//! What a task's end leads to: callbacks, the next of its chain, errbacks.

use std::time::Duration;

use celeriac_protocol::{Embed, Signature, TaskHeaders, Value};

use crate::backoff::Backoff;
use crate::call::Call;
use crate::error::SendError;
use crate::producer::Producer;

/// Sends what comes after a success, and returns the children as `AsyncResult.as_tuple` writes them.
///
/// # Errors
/// When something of it can never be sent.
pub(crate) async fn after_success(
    producer: &Producer,
    parent: &TaskHeaders,
    embed: Embed,
    value: &Value,
) -> Result<Vec<Value>, SendError> {
    let Embed { callbacks, mut chain, chord, .. } = embed;
    let mut children = Vec::new();
    for callback in callbacks {
        let sent = send(producer, parent, callback, value, Vec::new()).await?;
        children.extend(sent.into_iter().map(child));
    }
    if let Some(next) = chain.pop() {
        let sent = send(producer, parent, next, value, chain).await?;
        children.extend(sent.into_iter().map(child));
    }
    if chord.is_some() {
        // The parts of a chord are counted in the result store, which native tasks do not do.
        tracing::error!("{}[{}] is in a chord: native tasks do not call its body", parent.task, parent.id);
    }
    Ok(children)
}

/// Sends the errbacks, each with the id of the task that failed.
pub(crate) async fn after_failure(producer: &Producer, parent: &TaskHeaders, errbacks: Vec<Signature>) {
    let id = Value::from(parent.id.as_str());
    for errback in errbacks {
        if let Err(error) = send(producer, parent, errback, &id, Vec::new()).await {
            tracing::error!("{}[{}]: an errback is not called: {error}", parent.task, parent.id);
        }
    }
}

fn child(id: String) -> Value {
    Value::List(vec![Value::List(vec![id.into(), Value::Null]), Value::Null])
}

/// Sends a signature with an argument before its own, and returns the ids that were given.
async fn send(
    producer: &Producer,
    parent: &TaskHeaders,
    signature: Signature,
    argument: &Value,
    chain: Vec<Signature>,
) -> Result<Vec<String>, SendError> {
    let (members, group) = match signature.subtask_type.as_deref() {
        Some("group") if chain.is_empty() => (members(signature), Some(uuid::Uuid::new_v4().to_string())),
        Some(kind @ ("group" | "chord" | "chunks" | "xmap" | "xstarmap")) => {
            // A group that a chain goes on after is a chord too.
            return Err(SendError::Encode(format!("native tasks cannot start a {kind} here")));
        }
        _ => (vec![signature], None),
    };
    let mut ids = Vec::with_capacity(members.len());
    for (index, signature) in members.into_iter().enumerate() {
        let mut call = Call::from_signature(signature, Some(argument.clone()));
        call.embed.chain.splice(..0, chain.iter().cloned());
        let options = &mut call.options;
        options.root_id = parent.root_id.clone().or_else(|| Some(parent.id.clone()));
        options.parent_id = Some(parent.id.clone());
        if group.is_some() {
            options.group_id.clone_from(&group);
            options.group_index = i64::try_from(index).ok();
        }
        let id = options.task_id.take().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        patiently(|| producer.send(id.clone(), call.clone())).await?;
        ids.push(id);
    }
    Ok(ids)
}

/// The members of a group's signature.
fn members(mut group: Signature) -> Vec<Signature> {
    match group.kwargs.remove("tasks") {
        Some(Value::List(tasks)) => {
            tasks.into_iter().filter_map(|task| Signature::from_value(task).ok()).collect()
        }
        _ => Vec::new(),
    }
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
