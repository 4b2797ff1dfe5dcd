//! The order in which a worker's parts start and stop.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::Error;

use crate::worker::Shared;

/// A part of the worker. All have the same contract:
///
/// - `start` is called when every earlier step runs, at first and again after each loss of the broker;
/// - `quiet` ends the taking of new work and leaves what runs alone;
/// - `stop` lets go of everything, returns when that is done, and may be called at any time, also before `start`
///   and more than once.
#[async_trait]
pub(crate) trait Step: Send {
    fn name(&self) -> &'static str;

    async fn start(&mut self, worker: &Arc<Shared>) -> Result<(), Error>;

    async fn quiet(&mut self) {}

    async fn stop(&mut self);
}

/// Steps in the order in which they start.
pub(crate) struct Blueprint(Vec<Box<dyn Step>>);

impl Blueprint {
    pub(crate) fn new(steps: Vec<Box<dyn Step>>) -> Self {
        Blueprint(steps)
    }

    /// Starts all steps in order; when one cannot start, those before it are stopped again.
    pub(crate) async fn start(&mut self, worker: &Arc<Shared>) -> Result<(), Error> {
        for index in 0..self.0.len() {
            let step = &mut self.0[index];
            tracing::debug!("| Consumer: Starting {}", step.name());
            if let Err(error) = step.start(worker).await {
                self.stop().await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the taking of new work, the last step first.
    pub(crate) async fn quiet(&mut self) {
        for step in self.0.iter_mut().rev() {
            step.quiet().await;
        }
    }

    /// Stops all steps, the last one first.
    pub(crate) async fn stop(&mut self) {
        for step in self.0.iter_mut().rev() {
            tracing::debug!("| Consumer: Stopping {}", step.name());
            step.stop().await;
        }
    }
}
