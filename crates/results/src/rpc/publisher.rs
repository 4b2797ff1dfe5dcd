//! Replies on their way out.

use std::sync::Arc;

use celeriac_broker::{Address, Line};
use celeriac_protocol::Message;

use super::unavailable;
use crate::{Error, backoff};

/// Sends a reply, again after a loss. A caller that has gone is no error.
pub(super) async fn publish(line: &Arc<Line>, queue: &str, message: Message) -> Result<(), Error> {
    let address = Address::queue(queue);
    let mut retry = 0;
    while let Err(error) = line.publish(&address, message.clone()).await {
        if retry >= backoff::MAX_RETRIES || !error.is_recoverable() {
            return Err(unavailable(error));
        }
        tokio::time::sleep(backoff::delay(retry)).await;
        retry += 1;
    }
    Ok(())
}
