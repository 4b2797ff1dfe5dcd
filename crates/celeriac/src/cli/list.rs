//! `list bindings` (`celery/bin/list.py`).

use celeriac_broker::Error as BrokerError;

use super::console::Console;
use super::error::Error;
use crate::App;

/// Prints every binding that the broker has.
pub(super) async fn bindings(app: &App, console: Console) -> Result<(), Error> {
    let connection = app.transport().connect().await?;
    let bindings = connection.bindings().await;
    connection.close().await;
    let bindings = bindings.map_err(|error| match error {
        BrokerError::Unsupported { .. } => Error::Usage("Your transport cannot list bindings.".to_owned()),
        error => error.into(),
    })?;
    let row =
        |queue: &str, exchange: &str, key: &str| console.say(&format!("{queue:<28} {exchange:<28} {key}"));
    row("Queue", "Exchange", "Routing Key");
    row(&"-".repeat(16), &"-".repeat(16), &"-".repeat(16));
    for binding in bindings {
        row(&binding.queue, &binding.exchange, &binding.routing_key);
    }
    Ok(())
}
