use std::io;
use std::sync::Arc;

use celeriac::worker::{BrokerError, Consumer, Step, async_trait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Logs at each SIGUSR2 what this worker knows of the cluster: `knows of 3 members, digest 00f1e2d3c4b5a697`.
#[derive(Default)]
pub struct Witness(Option<JoinHandle<()>>);

#[async_trait]
impl Step for Witness {
    fn label(&self) -> &'static str {
        "Witness"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Gossip"]
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), BrokerError> {
        let lost = |error: io::Error| BrokerError::Lost(error.to_string());
        let mut asked = signal(SignalKind::user_defined2()).map_err(lost)?;
        let consumer = consumer.clone();
        self.0 = Some(tokio::spawn(async move {
            while asked.recv().await.is_some() {
                let members = consumer.cluster().members().len() + 1;
                let digest = consumer.cluster().standing().map_or(0, |standing| standing.digest);
                tracing::info!("knows of {members} members, digest {digest:016x}");
            }
        }));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(answering) = self.0.take() {
            answering.abort();
        }
    }
}
