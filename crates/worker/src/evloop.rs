//! The last step: every other one runs.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::Error;

use crate::blueprint::Step;
use crate::consumer::Consumer;

/// Says that the worker is ready.
pub(crate) struct Evloop;

#[async_trait]
impl Step for Evloop {
    fn label(&self) -> &'static str {
        "Evloop"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Tasks"]
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        tracing::info!("{} ready.", consumer.hostname());
        Ok(())
    }

    async fn stop(&mut self) {}
}
