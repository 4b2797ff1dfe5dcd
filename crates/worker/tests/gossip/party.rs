//! Workers of one cluster, in one process and in virtual time.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{Error, MemoryTransport, Transport};
use celeriac_cluster::state::Worker as Member;
use celeriac_cluster::watch::Standing;
use celeriac_worker::{Consumer, GossipMode, Settings, Shutdown, Step};
use tokio::sync::mpsc;
use tokio::time::Duration;

use crate::control::client;
use crate::shim::Shim;
use crate::support::{DEADLINE, Rig, Running, eventually};

/// A broker, and who is about.
pub struct Party {
    pub transport: MemoryTransport,
}

/// One worker.
pub struct Guest {
    pub shim: Arc<Shim>,
    pub consumer: Arc<Consumer>,
    pub running: Running,
    told: mpsc::UnboundedReceiver<String>,
}

/// Hands out the worker's inside when it takes tasks.
struct Inside(mpsc::UnboundedSender<Arc<Consumer>>);

#[async_trait]
impl Step for Inside {
    fn label(&self) -> &'static str {
        "Inside"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Tasks"]
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let _ = self.0.send(consumer.clone());
        Ok(())
    }

    async fn stop(&mut self) {}
}

impl Party {
    pub fn new() -> Self {
        Party { transport: MemoryTransport::new() }
    }

    /// A worker that gossips by watchers and sends heartbeats, and does not mingle.
    pub async fn join(&self, hostname: &str) -> Guest {
        self.join_with(hostname, |_| {}).await
    }

    pub async fn join_with(&self, hostname: &str, set: impl FnOnce(&mut Settings)) -> Guest {
        self.join_by(hostname, Shim::sound(self.transport.clone()), set).await
    }

    pub async fn join_by(&self, hostname: &str, shim: Shim, set: impl FnOnce(&mut Settings)) -> Guest {
        let shim = Arc::new(shim);
        let mut rig = self.rig().sending_by(shim.clone());
        rig.settings.hostname = hostname.to_owned();
        (rig.settings.gossip, rig.settings.gossip_mode, rig.settings.heartbeat) =
            (true, GossipMode::Watch, true);
        set(&mut rig.settings);
        let (inside, mut consumers) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::unbounded_channel();
        let say = |what: &'static str| {
            let tell = tell.clone();
            move |member: &Member| drop(tell.send(format!("{what} {}", member.hostname)))
        };
        let (joined, left, lost) = (say("joined"), say("left"), say("lost"));
        let running = rig.start_as(shim.clone(), |worker| {
            let worker = worker.on_node_join(joined).on_node_leave(left).on_node_lost(lost);
            let won = tell.clone();
            worker.step(Inside(inside)).on_elected("mine", move |_, _| drop(won.send("won".to_owned())))
        });
        let consumer = tokio::time::timeout(DEADLINE, consumers.recv()).await.expect("a start").unwrap();
        Guest { shim, consumer, running, told }
    }

    /// Whoever uses the same broker.
    pub fn rig(&self) -> Rig {
        let mut rig = client::rig();
        rig.transport = self.transport.clone();
        rig.sending_by(Arc::new(self.transport.clone()))
    }

    /// The queues that are bound to the cluster's exchange or to that of events, with their keys.
    pub async fn bindings(&self) -> Vec<(String, String)> {
        let connection = self.transport.connect().await.unwrap();
        let bindings = connection.bindings().await.unwrap();
        connection.close().await;
        let of_cluster = |exchange: &str| exchange.starts_with("celeriac.cluster.") || exchange == "celeryev";
        let bindings = bindings.into_iter().filter(|binding| of_cluster(&binding.exchange));
        bindings.map(|binding| (binding.queue, binding.routing_key)).collect()
    }
}

impl Guest {
    pub fn standing(&self) -> Standing {
        self.consumer.cluster().standing().unwrap()
    }

    /// Waits until it knows that many workers, itself included, and a lead.
    pub async fn sees(&self, size: usize) -> Standing {
        eventually("the roster", || async {
            let standing = self.standing();
            (standing.size == size && standing.lead.is_some()).then_some(standing)
        })
        .await
    }

    /// Everything that it was told since the last time, in some order, after a while in which no more comes.
    pub async fn told(&mut self) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(15)).await;
        self.told_so_far()
    }

    pub fn told_so_far(&mut self) -> Vec<String> {
        let mut told: Vec<_> = std::iter::from_fn(|| self.told.try_recv().ok()).collect();
        told.sort();
        told
    }

    pub async fn leave(self) {
        self.running.end(Shutdown::Warm).await.unwrap();
    }
}
