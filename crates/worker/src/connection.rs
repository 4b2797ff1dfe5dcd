//! The step that holds the connection which consumes.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{Connection, Error};
use tokio::task::JoinHandle;

use crate::blueprint::Step;
use crate::worker::Shared;

/// Opens the connection, and tells the worker when it is lost.
#[derive(Default)]
pub(crate) struct ConnectionStep {
    open: Option<(Arc<dyn Connection>, JoinHandle<()>)>,
}

#[async_trait]
impl Step for ConnectionStep {
    fn name(&self) -> &'static str {
        "Connection"
    }

    async fn start(&mut self, worker: &Arc<Shared>) -> Result<(), Error> {
        let connection = worker.transport.connect().await?;
        tracing::info!("Connected to {}", worker.transport.display_url());
        worker.set_connection(connection.clone());
        let (watched, losses) = (connection.clone(), worker.losses());
        let watch = tokio::spawn(async move { losses.tell(watched.closed().await) });
        self.open = Some((connection, watch));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((connection, watch)) = self.open.take() {
            watch.abort();
            connection.close().await;
        }
    }
}
