//! What a task's end leads to: callbacks, the next of its chain, errbacks.

use celeriac_protocol::{Embed, Signature, Value};
use celeriac_results::Saved;

use crate::error::SendError;
use crate::launch::Launch;

/// Sends what comes after a success, and returns the children as `AsyncResult.as_tuple` writes them.
///
/// # Errors
/// When something of it can never be sent.
pub(crate) async fn after_success(
    launch: &Launch<'_>,
    embed: &mut Embed,
    value: &Value,
) -> Result<Vec<Value>, SendError> {
    let mut children = Vec::new();
    for callback in std::mem::take(&mut embed.callbacks) {
        children.extend(launch.send(callback, value).await?);
    }
    if let Some(mut next) = embed.chain.pop() {
        let later = std::mem::take(&mut embed.chain);
        if !later.is_empty() {
            next.options.insert("chain", later.into_iter().map(Signature::into_value).collect::<Vec<_>>());
        }
        children.extend(launch.send(next, value).await?);
    }
    Ok(children.iter().map(|id| Saved::result(id)).collect())
}

/// Sends the errbacks, each with the id of the task that failed.
pub(crate) async fn after_failure(launch: &Launch<'_>, id: &str, errbacks: Vec<Signature>) {
    let argument = Value::from(id);
    for errback in errbacks {
        if let Err(error) = launch.send(errback, &argument).await {
            tracing::error!("{id}: an errback is not called: {error}");
        }
    }
}
