//! The step that tells the others that this worker is there; when and what is `celeriac_cluster::heart`'s.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Error, Published};
use celeriac_cluster::heart::{Input, Load};
use tokio::task::JoinHandle;

use crate::blueprint::{Include, Step};
use crate::consumer::{Consumer, lock};
use crate::request::Stage;

/// How long the last word may take to leave.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest: what is due may be a rounding error ahead.
const SHORTEST: f64 = 0.001;
/// The longest time between two looks, in seconds.
const LONGEST: f64 = 60.0;

/// Sends `worker-online`, `worker-heartbeat` and `worker-offline`.
#[derive(Default)]
pub(crate) struct Heart {
    beating: Option<(Arc<Consumer>, JoinHandle<()>)>,
    /// It was said that nobody listens.
    unheard: Arc<AtomicBool>,
}

#[async_trait]
impl Step for Heart {
    fn label(&self) -> &'static str {
        "Heart"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Events"]
    }

    fn include(&self, consumer: &Consumer) -> Include {
        Include::when(consumer.settings.heartbeat, "--without-heartbeat")
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let (beating, unheard) = (consumer.clone(), self.unheard.clone());
        // One after the other: while a broker takes nothing, one waits and the rest are skipped, not sent later.
        let beating = tokio::spawn(async move {
            send(&beating, Input::Start).await;
            loop {
                let due = lock(&beating.heart).next_timeout().unwrap_or(f64::MAX);
                let wait = (due - beating.steady()).clamp(SHORTEST, LONGEST);
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                if let Some(Published::Returned) = send(&beating, Input::Tick).await {
                    tell_unheard(&beating, &unheard);
                }
            }
        });
        self.beating = Some((consumer.clone(), beating));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((consumer, beating)) = self.beating.take() {
            beating.abort();
            let _ = beating.await;
            if tokio::time::timeout(PATIENCE, send(&consumer, Input::Stop)).await.is_err() {
                tracing::debug!("the others are not told that this worker goes");
            }
        }
    }
}

/// Publishes what the heart has to say now. The work goes on when that fails.
pub(crate) async fn send(consumer: &Consumer, input: Input) -> Option<Published> {
    let published = beat(consumer, input).await;
    published.inspect_err(|error| tracing::debug!("the heart was not heard: {error}")).ok().flatten()
}

/// Publishes what the heart has to say now, if anything.
async fn beat(consumer: &Consumer, input: Input) -> Result<Option<Published>, Error> {
    let beat = lock(&consumer.heart).handle(input, load(consumer), consumer.steady());
    match beat {
        Some(beat) => {
            if let Some(observer) = &consumer.observer {
                observer.heartbeat().await;
            }
            consumer.events().publish_mandatory(beat.kind, beat.fields).await.map(Some)
        }
        None => Ok(None),
    }
}

fn load(consumer: &Consumer) -> Load {
    Load {
        active: consumer.requests.count(Stage::Active) as u64,
        processed: consumer.counters.started.value(),
        loadavg: loadavg().unwrap_or_default(),
    }
}

/// The system's load, where it can be read.
fn loadavg() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut loads = text.split(' ').map_while(|load| load.parse().ok());
    Some([loads.next()?, loads.next()?, loads.next()?])
}

/// A worker that hears all hears itself, unless somebody removed the binding.
fn tell_unheard(consumer: &Consumer, told: &AtomicBool) {
    if consumer.cluster.hears() && !told.swap(true, Ordering::Relaxed) {
        tracing::warn!("nobody hears the heartbeats of this worker: nothing is bound to the event exchange");
    }
}
