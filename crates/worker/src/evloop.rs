//! The last step: every other one runs.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::Error;
use tokio::task::JoinHandle;

use crate::blueprint::Step;
use crate::consumer::Consumer;

/// Says that the worker is ready, and from then on what the cluster costs it.
#[derive(Default)]
pub(crate) struct Evloop {
    telling: Option<JoinHandle<()>>,
}

#[async_trait]
impl Step for Evloop {
    fn label(&self) -> &'static str {
        "Evloop"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Tasks"]
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        if let Some(observer) = &consumer.observer {
            observer.ready().await;
        }
        tracing::info!("{} ready.", consumer.hostname());
        let chatter = consumer.chatter.clone();
        let interval = consumer.settings.chatter_interval;
        self.telling = Some(tokio::spawn(async move { chatter.tell(interval).await }));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(telling) = self.telling.take() {
            telling.abort();
            let _ = telling.await;
        }
    }
}
