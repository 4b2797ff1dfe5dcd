//! The step that holds the connection which consumes.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{Connection, Error};
use tokio::task::JoinHandle;

use crate::blueprint::Step;
use crate::consumer::Consumer;

/// Opens the connection, and tells the worker when it is lost.
#[derive(Default)]
pub(crate) struct ConnectionStep {
    open: Option<Open>,
}

struct Open {
    consumer: Arc<Consumer>,
    connection: Arc<dyn Connection>,
    watch: JoinHandle<()>,
}

#[async_trait]
impl Step for ConnectionStep {
    fn label(&self) -> &'static str {
        "Connection"
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let connection = consumer.transport.connect().await?;
        tracing::info!("Connected to {}", consumer.transport.display_url());
        consumer.set_connection(connection.clone());
        let (watched, losses) = (connection.clone(), consumer.losses());
        let watch = tokio::spawn(async move { losses.tell(watched.closed().await) });
        self.open = Some(Open { consumer: consumer.clone(), connection, watch });
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(Open { consumer, connection, watch }) = self.open.take() {
            watch.abort();
            consumer.close_listener().await;
            connection.close().await;
        }
    }
}
