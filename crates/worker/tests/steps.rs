//! Which steps a worker has, and when they start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use celeriac_broker::Error;
use celeriac_worker::{Consumer, Include, Shutdown, Step};
use tokio::sync::mpsc;

use crate::control::client::rig;
use crate::log::Log;
use crate::support::{DEADLINE, Running};

/// Tells when the worker takes tasks.
pub struct Ready(mpsc::UnboundedSender<()>);

/// Waits until the worker takes tasks.
pub struct Awaited(mpsc::UnboundedReceiver<()>);

pub fn ready() -> (Ready, Awaited) {
    let (told, awaited) = mpsc::unbounded_channel();
    (Ready(told), Awaited(awaited))
}

impl Awaited {
    pub async fn wait(&mut self) {
        tokio::time::timeout(DEADLINE, self.0.recv()).await.expect("the worker to be ready").unwrap();
    }
}

#[async_trait]
impl Step for Ready {
    fn label(&self) -> &'static str {
        "Ready"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Tasks"]
    }

    async fn start(&mut self, _: &Arc<Consumer>) -> Result<(), Error> {
        let _ = self.0.send(());
        Ok(())
    }

    async fn stop(&mut self) {}
}

/// A step of a program's own that counts its starts.
struct Own {
    label: &'static str,
    transports: Option<&'static [&'static str]>,
    include: Include,
    starts: Arc<AtomicU32>,
}

#[async_trait]
impl Step for Own {
    fn label(&self) -> &'static str {
        self.label
    }

    fn compatible_transports(&self) -> Option<&'static [&'static str]> {
        self.transports
    }

    fn include(&self, _: &Consumer) -> Include {
        self.include.clone()
    }

    async fn start(&mut self, _: &Arc<Consumer>) -> Result<(), Error> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn stop(&mut self) {}
}

#[tokio::test]
async fn a_step_that_the_worker_does_not_have_is_told_with_the_reason_and_never_starts() {
    let log = Log::record();
    let no = || Include::No("nobody wants it".to_owned());
    let cases = [
        ("Fits", Some(&["amqp", "memory"][..]), Include::Yes, 1),
        ("Anywhere", None, Include::Yes, 1),
        ("Elsewhere", Some(&["amqp"][..]), Include::Yes, 0),
        ("Unwanted", None, no(), 0),
        ("Neither", Some(&[][..]), no(), 0),
    ];
    let starts = cases.each_ref().map(|_| Arc::<AtomicU32>::default());
    let (ready, mut awaited) = ready();
    let rig = rig();
    let worker: Running = rig.start_as(Arc::new(rig.transport.clone()), |worker| {
        let own = cases.iter().zip(&starts).map(|((label, transports, include, _), starts)| Own {
            label,
            transports: *transports,
            include: include.clone(),
            starts: starts.clone(),
        });
        own.fold(worker, |worker, own| worker.step(own)).step(ready)
    });
    awaited.wait().await;
    worker.end(Shutdown::Warm).await.unwrap();
    for ((label, .., expected), starts) in cases.iter().zip(&starts) {
        assert_eq!(starts.load(Ordering::Relaxed), *expected, "{label}");
    }
    for (line, expected) in [
        ("DEBUG | Consumer: Without Elsewhere: it does not work on memory", 1),
        ("DEBUG | Consumer: Without Unwanted: nobody wants it", 1),
        ("DEBUG | Consumer: Without Neither: it does not work on memory", 1),
        ("DEBUG | Consumer: Without Mingle: --without-mingle", 1),
        ("DEBUG | Consumer: Without Gossip: --without-gossip", 1),
        ("DEBUG | Consumer: Without Heart: --without-heartbeat", 1),
        ("Consumer: Without Fits", 0),
        ("Consumer: Without Anywhere", 0),
    ] {
        assert_eq!(log.count(line), expected, "{line}\n{log}");
    }
}
