//! What a running worker does with its steps: start them, begin anew after a loss, end them
//! (`celery/worker/consumer/consumer.py`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celeriac_broker::Error;
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::blueprint::Blueprint;
use crate::consumer::Consumer;
use crate::error::WorkerError;
use crate::shutdown::Shutdown;

/// Keeps the steps running until a shutdown is asked for.
pub(super) async fn consume(
    consumer: &Arc<Consumer>,
    blueprint: &mut Blueprint,
    losses: &mut mpsc::UnboundedReceiver<(u64, Error)>,
) -> Result<(), WorkerError> {
    let shutdown = &consumer.shutdown;
    let mut was_ready = false;
    loop {
        tokio::select! {
            started = start(consumer, blueprint, was_ready) => started?,
            () = shutdown.reached(Shutdown::Warm) => return Ok(()),
        }
        was_ready = true;
        let error = tokio::select! {
            error = loss(consumer, losses) => error,
            () = shutdown.reached(Shutdown::Warm) => return Ok(()),
        };
        tracing::warn!(
            "consumer: Connection to broker lost. Trying to re-establish the connection... ({error})"
        );
        blueprint.stop().await;
        let_go(consumer);
        if !error.is_recoverable() {
            return Err(error.into());
        }
    }
}

/// The next loss of the connection in use; one loss is told by several parts, and perhaps late.
async fn loss(consumer: &Consumer, losses: &mut mpsc::UnboundedReceiver<(u64, Error)>) -> Error {
    while let Some((generation, error)) = losses.recv().await {
        if generation == consumer.generation.load(Ordering::Acquire) {
            return error;
        }
    }
    // `consumer` holds a sender.
    std::future::pending().await
}

/// Starts the steps, again and again with growing pauses (`celery/worker/consumer/consumer.py`, `connect`).
async fn start(consumer: &Arc<Consumer>, blueprint: &mut Blueprint, was_ready: bool) -> Result<(), Error> {
    let settings = &consumer.settings;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut tries = 0;
    loop {
        let error = match blueprint.start(consumer).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // The queues may have been consumed already.
        let_go(consumer);
        let may_retry = was_ready || settings.connection_retry_on_startup;
        let left = settings.connection_max_retries.is_none_or(|limit| tries < limit);
        if !error.is_recoverable() || !may_retry || !left {
            return Err(error);
        }
        tries += 1;
        let wait = backoff.next();
        let limit = settings.connection_max_retries.map(|limit| format!("/{limit}")).unwrap_or_default();
        tracing::error!(
            "consumer: {error}. Trying again in {:.2} seconds... ({tries}{limit})",
            wait.as_secs_f64()
        );
        tokio::time::sleep(wait).await;
    }
}

/// What was received over a connection that is lost comes again.
fn let_go(consumer: &Consumer) {
    consumer.executor.discard_waiting();
    if consumer.settings.cancel_on_connection_loss {
        consumer.executor.cancel_late();
    }
}

/// Quiet, then the deadline, then the rest goes back; what sends is closed before what receives.
pub(super) async fn end(consumer: &Consumer, blueprint: &mut Blueprint) {
    let shutdown = &consumer.shutdown;
    blueprint.quiet().await;
    consumer.executor.discard_waiting();
    let graceful = async {
        shutdown.reached(Shutdown::Cold).await;
        let timeout = consumer.settings.soft_shutdown_timeout;
        if !timeout.is_zero() && consumer.executor.load() > 0 {
            tracing::warn!("Initiating Soft Shutdown, terminating in {} seconds", timeout.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(timeout) => {}
                () = shutdown.reached(Shutdown::Now) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = consumer.executor.idle() => {}
        () = graceful => {}
    }
    consumer.executor.cancel().await;
    blueprint.stop().await;
}
