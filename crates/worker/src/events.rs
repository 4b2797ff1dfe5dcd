//! The step that sends monitoring events.

mod dispatcher;
mod groups;

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::Error;
use tokio::task::JoinHandle;

use crate::blueprint::{Include, Step};
use crate::consumer::Consumer;

pub use dispatcher::Dispatcher;
pub(crate) use dispatcher::DispatcherSettings;

/// Runs the dispatcher.
#[derive(Default)]
pub(crate) struct Events {
    running: Option<(Arc<Dispatcher>, JoinHandle<()>)>,
}

#[async_trait]
impl Step for Events {
    fn label(&self) -> &'static str {
        "Events"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Connection"]
    }

    fn include(&self, consumer: &Consumer) -> Include {
        Include::when(consumer.events().is_enabled(), "no events, gossip nor heartbeats are wanted")
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let dispatcher = consumer.events().clone();
        let running = dispatcher.clone();
        self.running = Some((dispatcher, tokio::spawn(async move { running.run().await })));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((dispatcher, running)) = self.running.take() {
            dispatcher.end();
            let _ = running.await;
        }
    }
}
