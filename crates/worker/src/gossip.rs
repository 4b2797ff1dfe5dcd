//! The step that listens to the other workers (`celery/worker/consumer/gossip.py`); what follows from what it hears
//! is `celeriac_cluster::gossip`'s.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Delivery, Error};
use celeriac_cluster::gossip::{Action, Config, Gossip as Machine, Input};
use celeriac_cluster::state::Worker as Member;
use celeriac_protocol::{Event, Signature, Value};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::blueprint::{Include, Step};
use crate::call::Call;
use crate::consumer::{Consumer, lock};
use crate::listener::Mailbox;
use crate::wall::now;

/// How long an event of ours may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);
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
#[derive(Default)]
pub struct Cluster {
    machine: Mutex<Option<Machine>>,
    elections: Mutex<Option<mpsc::Sender<Election>>>,
    /// Actions of elections that were won.
    won: Mutex<JoinSet<()>>,
}

struct Election {
    id: String,
    topic: String,
    action: Value,
}

impl Cluster {
    /// The other workers that are known; none without gossip.
    pub fn members(&self) -> Vec<Member> {
        lock(&self.machine).iter().flat_map(|machine| machine.members().cloned()).collect()
    }

    /// Stands for an election: of the workers that are asked to under the same id, one carries out the action.
    /// Whether it could be taken up; without gossip it cannot.
    pub fn election(&self, id: String, topic: String, action: Value) -> bool {
        let election = Election { id, topic, action };
        lock(&self.elections).as_ref().is_some_and(|elections| elections.try_send(election).is_ok())
    }
}

/// Listens to the others, and takes part in elections.
#[derive(Default)]
pub(crate) struct Gossip {
    listening: Option<(Arc<Consumer>, JoinHandle<()>)>,
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
        let settings = &consumer.settings;
        let config = Config {
            interval: settings.gossip_interval.as_secs_f64(),
            heartbeat_interval: settings.gossip_heartbeat_interval.as_secs_f64(),
            ..Config::new(consumer.hostname(), std::process::id())
        };
        let mut topology = consumer.settings.events.listener(&Uuid::new_v4().to_string(), "worker.#");
        // What was not fetched before the next heartbeat is old news.
        topology.queues[0].message_ttl = Some(Duration::from_secs_f64(config.heartbeat_interval));
        let mailbox = consumer.listen(&topology, &topology.queues[0].name).await?;
        match &mut *lock(&consumer.cluster.machine) {
            Some(machine) => machine.resume(now()),
            machine => *machine = Some(Machine::new(config, consumer.clock.clone(), now())),
        }
        let (standing, elections) = mpsc::channel(ELECTIONS);
        *lock(&consumer.cluster.elections) = Some(standing);
        self.listening = Some((consumer.clone(), tokio::spawn(listen(consumer.clone(), mailbox, elections))));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some((consumer, listening)) = self.listening.take() {
            *lock(&consumer.cluster.elections) = None;
            listening.abort();
            let _ = listening.await;
            let mut won = std::mem::take(&mut *lock(&consumer.cluster.won));
            let ending = async { while won.join_next().await.is_some() {} };
            if tokio::time::timeout(PATIENCE, ending).await.is_err() {
                tracing::error!("an election was won whose action could not be carried out");
            }
        }
    }
}

async fn listen(consumer: Arc<Consumer>, mut mailbox: Mailbox, mut elections: mpsc::Receiver<Election>) {
    loop {
        let due =
            lock(&consumer.cluster.machine).as_ref().and_then(Machine::next_timeout).unwrap_or(f64::MAX);
        // The wall clock may jump: look again soon.
        let wait = Duration::from_secs_f64((due - now()).clamp(SHORTEST, 5.0));
        tokio::select! {
            delivery = mailbox.recv() => {
                let Some(delivery) = delivery else { return };
                let tag = delivery.tag;
                hear(&consumer, delivery).await;
                if mailbox.done(tag).await.is_err() {
                    return;
                }
            }
            Some(Election { id, topic, action }) = elections.recv() => {
                while lock(&consumer.cluster.won).try_join_next().is_some() {}
                handle(&consumer, Input::Election { id, topic, action }).await;
            }
            () = tokio::time::sleep(wait) => handle(&consumer, Input::Tick).await,
        }
    }
}

async fn hear(consumer: &Arc<Consumer>, delivery: Delivery) {
    let Delivery { routing_key, message, .. } = delivery;
    let body = match message.decode(&consumer.settings.events.accept) {
        Ok(body) => body,
        Err(error) => {
            consumer.counters.invalid_events.count();
            return tracing::error!("cannot decode an event ({routing_key}): {error}");
        }
    };
    let mut wrong = None;
    for event in Event::read_all(body) {
        match event {
            Ok(event) => handle(consumer, Input::Event { routing_key: &routing_key, event: &event }).await,
            Err(error) => {
                consumer.counters.invalid_events.count();
                wrong.get_or_insert(error);
            }
        }
    }
    // One line for a message, however many are wrong in it.
    if let Some(error) = wrong {
        tracing::error!("an event is ignored ({routing_key}): {error}");
    }
}

/// Carries out what follows, in order: elections rely on it.
async fn handle(consumer: &Arc<Consumer>, input: Input<'_>) {
    let actions = lock(&consumer.cluster.machine).as_mut().map(|machine| machine.handle(input, now()));
    for action in actions.into_iter().flatten() {
        carry_out(consumer, action).await;
    }
}

async fn carry_out(consumer: &Arc<Consumer>, action: Action) {
    let handlers = &consumer.handlers;
    match action {
        Action::Joined(member) => {
            tracing::debug!("{} joined the party", member.hostname);
            call(&handlers.node_join, &member);
        }
        Action::Left(member) => {
            tracing::debug!("{} left", member.hostname);
            call(&handlers.node_leave, &member);
        }
        Action::Lost(member) => {
            tracing::info!("missed heartbeat from {}", member.hostname);
            call(&handlers.node_lost, &member);
        }
        Action::Drifted(drift) => tracing::warn!(
            "Substantial drift from {} may mean clocks are out of sync.  Current drift is {:.0} seconds.",
            drift.hostname,
            drift.seconds()
        ),
        Action::Crowded { limit } => {
            tracing::warn!("there are more than {limit} workers: those heard longest ago are forgotten");
        }
        Action::Publish { kind, fields } => {
            let sent = tokio::time::timeout(PATIENCE, consumer.events().publish(kind, fields)).await;
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("cannot send {kind}: {error}"),
                Err(_) => tracing::warn!("cannot send {kind} within {PATIENCE:?}"),
            }
        }
        Action::Elected { id, run: Some((topic, action)), .. } => {
            tracing::info!("I won the election '{id}'");
            // Gossip goes on meanwhile.
            let running = consumer.clone();
            lock(&consumer.cluster.won).spawn(async move { run(&running, &topic, action).await });
        }
        Action::Elected { id, leader, run: None } => tracing::info!("node {leader} elected for '{id}'"),
        Action::Expired(id) => tracing::warn!("the election '{id}' was not decided"),
        Action::Refused(error) => {
            consumer.counters.invalid_events.count();
            tracing::error!("{error}");
        }
    }
}

/// A handler that panics must not end the gossip.
fn call(handlers: &[NodeHandler], member: &Member) {
    for handler in handlers {
        if catch_unwind(AssertUnwindSafe(|| handler(member))).is_err() {
            tracing::error!("Ignored a panic of a handler for {}", member.hostname);
        }
    }
}

async fn run(consumer: &Arc<Consumer>, topic: &str, action: Value) {
    if let Some(handler) = consumer.handlers.elected.get(topic) {
        if catch_unwind(AssertUnwindSafe(|| handler(consumer, action))).is_err() {
            tracing::error!("Ignored a panic of the handler for the election topic '{topic}'");
        }
    } else if topic == "task" {
        call_task(consumer, action).await;
    } else {
        tracing::error!("Unknown election topic '{topic}'");
    }
}

/// Sends the task that an election was about.
async fn call_task(consumer: &Consumer, task: Value) {
    let signature = match Signature::from_value(task) {
        Ok(signature) => signature,
        Err(error) => return tracing::error!("Could not call task: {error}"),
    };
    let mut call = Call::from_signature(signature, None);
    let id = call.options.task_id.take().unwrap_or_else(|| Uuid::new_v4().to_string());
    if let Err(error) = consumer.tracer.producer.send(id, call).await {
        tracing::error!("Could not call task: {error}");
    }
}
