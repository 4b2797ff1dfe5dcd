//! `call NAME` (`celery/bin/call.py`).

use super::args;
use super::console::Console;
use super::error::Error;
use crate::{App, Call, CallOptions};

/// Sends a call and prints its id.
pub(super) async fn run(app: &App, console: Console, options: args::Call) -> Result<(), Error> {
    let call = Call {
        kwargs: options.kwargs,
        options: CallOptions {
            countdown: options.countdown,
            eta: options.eta,
            expires: options.expires,
            serializer: Some(options.serializer),
            queue: options.queue,
            exchange: options.exchange,
            routing_key: options.routing_key,
            ..CallOptions::default()
        },
        ..Call::new(options.name, options.args.0)
    };
    let result = app.send_task(call).await?;
    console.say(result.id());
    Ok(())
}
