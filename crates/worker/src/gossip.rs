//! The step that listens to the other workers (`celery/worker/consumer/gossip.py`): by watchers, or as Celery's own do.
//! What follows from what it hears is `celeriac_cluster`'s.

mod classic;
mod ears;
pub(crate) mod outbox;
mod told;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::Error;
use celeriac_cluster::gossip::Gossip as Classic;
use celeriac_cluster::state::Worker as Member;
use celeriac_cluster::watch::message::{ALL, Beat, Key, NodeId};
use celeriac_cluster::watch::{Standing, Watch};
use celeriac_protocol::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::blueprint::{Include, Step};
use crate::consumer::{Consumer, lock};
use crate::listener::Mailbox;
use crate::settings::GossipMode;

/// How long an event of ours may take to leave, and actions of elections to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last word of a lead may take to leave.
const LAST_WORD: Duration = Duration::from_secs(2);
/// The shortest time between two looks, in seconds.
const SHORTEST: f64 = 0.01;
/// How many elections wait to be taken up at most.
const ELECTIONS: usize = 100;

type NodeHandler = Box<dyn Fn(&Member) + Send + Sync>;
type ElectedHandler = Box<dyn Fn(&Arc<Consumer>, Value) + Send + Sync>;

/// What a program wants to be told of the others (`Gossip.on` and `election_handlers`).
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) node_join: Vec<NodeHandler>,
    pub(crate) node_leave: Vec<NodeHandler>,
    pub(crate) node_lost: Vec<NodeHandler>,
    pub(crate) elected: HashMap<String, ElectedHandler>,
}

/// The other workers, as this one knows them.
pub struct Cluster {
    /// Our name on the cluster's exchange.
    node: NodeId,
    /// Our mailbox on it, from when mingle has opened it until gossip begins.
    kept: Mutex<Option<Kept>>,
    machine: Mutex<Option<Machine>>,
    elections: Mutex<Option<mpsc::Sender<Election>>>,
    /// Actions of elections that were won.
    won: Mutex<JoinSet<()>>,
    /// The events of all workers are heard here.
    hears: AtomicBool,
}

/// What mingle leaves to gossip.
pub(crate) struct Kept {
    /// By which the broker lets us ask.
    pub(crate) mailbox: Mailbox,
    /// What a lead told of itself last.
    pub(crate) beat: Option<Beat>,
}

/// What decides; it outlives the connections.
enum Machine {
    Classic(Box<Classic>),
    Watch(Box<Watch>),
}

struct Election {
    id: String,
    topic: String,
    action: Value,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            node: random_node(),
            kept: Mutex::default(),
            machine: Mutex::default(),
            elections: Mutex::default(),
            won: Mutex::default(),
            hears: AtomicBool::new(false),
        }
    }
}

impl Cluster {
    /// The other workers that are known; none without gossip.
    pub fn members(&self) -> Vec<Member> {
        match &*lock(&self.machine) {
            Some(Machine::Classic(classic)) => classic.members().cloned().collect(),
            Some(Machine::Watch(watch)) => watch.members().collect(),
            None => Vec::new(),
        }
    }

    /// Who leads, and what else is known of the cluster as a whole; nothing in classic gossip, where each knows its own.
    pub fn standing(&self) -> Option<Standing> {
        match &*lock(&self.machine) {
            Some(Machine::Watch(watch)) => Some(watch.standing()),
            _ => None,
        }
    }

    /// The names of all members, ourselves included, in the order of their numbers; classic gossip has no numbers.
    pub(crate) fn roster(&self) -> Vec<Arc<str>> {
        match &*lock(&self.machine) {
            Some(Machine::Watch(watch)) => {
                watch.roster().iter().map(|member| member.hostname.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Stands for an election: of the workers that are asked to under the same id, one carries out the action.
    /// Whether it could be taken up; without gossip it cannot.
    pub fn election(&self, id: String, topic: String, action: Value) -> bool {
        let election = Election { id, topic, action };
        lock(&self.elections).as_ref().is_some_and(|elections| elections.try_send(election).is_ok())
    }

    /// Our name on the cluster's exchange.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Opens our mailbox on the cluster's exchange.
    pub(crate) async fn open_mailbox(&self, consumer: &Consumer) -> Result<Mailbox, Error> {
        let keys = [ALL.to_owned(), Key::Node(self.node).to_string()];
        let own = consumer.settings.events.cluster_box(&Uuid::new_v4().to_string(), &keys);
        consumer.listen(&own, &own.queues[0].name).await
    }

    /// Keeps it for gossip; with none, drops it.
    pub(crate) fn keep(&self, kept: Option<Kept>) {
        *lock(&self.kept) = kept;
    }

    /// Whether we hear the events of all workers, our own among them.
    pub(crate) fn hears(&self) -> bool {
        self.hears.load(Ordering::Relaxed)
    }

    /// Whether this worker is among those that answer a `hello` which was addressed to nobody. `watched` tells, of an
    /// asker that knows of watchers, whether they answered it; `knows`, whether we have revokes to tell. Only for who
    /// gossips by watchers: others answer always.
    pub(crate) fn answers_hello(
        &self,
        hostname: &str,
        watched: Option<bool>,
        knows: bool,
        limit: usize,
    ) -> bool {
        let machine = lock(&self.machine);
        let watch = match &*machine {
            Some(Machine::Watch(watch)) => watch,
            Some(Machine::Classic(_)) => return true,
            // We have not begun: others that start with us ask, too.
            None => return watched.is_none() || knows,
        };
        let Standing { lead, watchers, size, .. } = watch.standing();
        let watches = |name: &str| watchers.iter().any(|watcher| **watcher == *name);
        let is_next = |watching: bool| {
            let listening = watch.roster().iter().filter(|member| member.node.is_some());
            let mut next =
                listening.filter(|member| watching || !watches(&member.hostname)).take(limit).peekable();
            // Where there is nobody else, the watchers answer.
            next.peek().is_none() || next.any(|member| *member.hostname == *hostname)
        };
        match (watched, lead) {
            (None, None) => true,
            (None, Some(_)) => watches(hostname),
            // A thousand may start at once, and greet each other.
            (Some(_), None) if size < 2 => knows,
            (Some(_), None) => is_next(true),
            (Some(true), Some(_)) => false,
            // The watchers may be gone: those that come after them in the roster answer.
            (Some(false), Some(_)) => is_next(false),
        }
    }
}

/// A name on the cluster's exchange that nobody else has.
pub(crate) fn random_node() -> NodeId {
    NodeId(Uuid::new_v4().as_u64_pair().1)
}

/// Whether the broker does not let us use something, which trying again would not change.
pub(crate) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::AccessRefused { .. } | Error::Precondition(_) | Error::Unsupported { .. })
}

/// Listens to the others, and takes part in elections.
#[derive(Default)]
pub(crate) struct Gossip {
    listening: Option<(Arc<Consumer>, JoinHandle<()>)>,
    /// It was said that this broker has no streams.
    streamless: bool,
}

#[async_trait]
impl Step for Gossip {
    fn label(&self) -> &'static str {
        "Gossip"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Mingle"]
    }

    fn compatible_transports(&self) -> Option<&'static [&'static str]> {
        Some(&["amqp", "memory", "redis", "sqlite"])
    }

    fn include(&self, consumer: &Consumer) -> Include {
        Include::when(consumer.settings.gossip, "--without-gossip")
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let way = match consumer.settings.gossip_mode {
            GossipMode::Classic => classic(consumer).await?,
            GossipMode::Watch => way(consumer, false).await?,
            GossipMode::Stream => {
                let has_streams = consumer.transport.capabilities().streams;
                if !has_streams && !std::mem::replace(&mut self.streamless, true) {
                    let name = consumer.transport.name();
                    tracing::warn!(
                        "gossip: the {name} transport has no streams: watchers have queues instead"
                    );
                }
                way(consumer, has_streams).await?
            }
        };
        let node = matches!(way, Some(Way::Watch(_))).then_some(consumer.cluster.node);
        lock(&consumer.heart).set_node(node);
        let Some(way) = way else { return Ok(()) };
        let (standing, elections) = mpsc::channel(ELECTIONS);
        *lock(&consumer.cluster.elections) = Some(standing);
        self.listening = Some((consumer.clone(), tokio::spawn(listen(consumer.clone(), way, elections))));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((consumer, mut listening)) = self.listening.take() {
            *lock(&consumer.cluster.elections) = None;
            if tokio::time::timeout(LAST_WORD, &mut listening).await.is_err() {
                tracing::debug!("gossip: the others may not know that this worker goes");
                listening.abort();
                let _ = listening.await;
            }
            consumer.cluster.hears.store(false, Ordering::Relaxed);
            let mut won = std::mem::take(&mut *lock(&consumer.cluster.won));
            let ending = async { while won.join_next().await.is_some() {} };
            if tokio::time::timeout(PATIENCE, ending).await.is_err() {
                tracing::error!("an election was won whose action could not be carried out");
            }
        }
    }
}

/// In which way it gossips on this connection.
enum Way {
    Classic(Mailbox),
    Watch(Box<watch::Open>),
}

/// By watchers, if the broker lets us.
async fn way(consumer: &Arc<Consumer>, streams: bool) -> Result<Option<Way>, Error> {
    match watch::open(consumer, streams).await? {
        Ok(open) => Ok(Some(Way::Watch(Box::new(open)))),
        Err(refusal) => {
            refusal.tell(consumer);
            classic(consumer).await
        }
    }
}

/// As Celery's workers do. Tasks run already: a broker that does not let us hear the others is no reason to end.
async fn classic(consumer: &Arc<Consumer>) -> Result<Option<Way>, Error> {
    match classic::open(consumer).await {
        Ok(mailbox) => Ok(Some(Way::Classic(mailbox))),
        Err(error) if is_refused(&error) => {
            tracing::warn!("gossip: the events of the others may not be read: no gossip ({error})");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn listen(consumer: Arc<Consumer>, way: Way, mut elections: mpsc::Receiver<Election>) {
    let mailbox = match way {
        Way::Classic(mailbox) => mailbox,
        Way::Watch(open) => {
            let losses = consumer.losses();
            let Some(refusal) = watch::listen(&consumer, *open, &mut elections).await else { return };
            refusal.tell(&consumer);
            lock(&consumer.heart).set_node(None);
            match classic::open(&consumer).await {
                Ok(mailbox) => mailbox,
                Err(error) => return losses.tell(error),
            }
        }
    };
    classic::listen(consumer, mailbox, elections).await;
}
