use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use super::consumers::SessionState;
use super::queue::{Entry, QueueState};
use crate::death::{Death, DeathReason};
use crate::{Address, Binding, Error, Event, Exchange, ExchangeKind, Published, QueueKind, Topology};

/// A broker in this process: one lock around all of its state.
#[derive(Default)]
pub(super) struct Broker {
    state: Mutex<State>,
}

/// Exchanges, queues, and who consumes them.
#[derive(Default)]
pub(super) struct State {
    exchanges: HashMap<String, Exchange>,
    /// By exchange.
    bindings: HashMap<String, Vec<Binding>>,
    pub queues: HashMap<Arc<str>, QueueState>,
    pub sessions: HashMap<u64, SessionState>,
    /// What each open connection is told when it ends.
    connections: HashMap<u64, watch::Sender<Option<Error>>>,
    /// When something expires next.
    timer: watch::Sender<Option<Instant>>,
    last_id: u64,
    /// While it is down nobody can connect.
    pub down: bool,
}

impl Broker {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expires what is due, and again whenever something is, until the connection ends.
    pub async fn keep_time(self: Arc<Self>, mut closed: watch::Receiver<Option<Error>>) {
        let mut timer = self.lock().timer.subscribe();
        loop {
            let next = *timer.borrow_and_update();
            tokio::select! {
                _ = closed.wait_for(Option::is_some) => return,
                _ = timer.changed() => {}
                () = until(next) => self.lock().expire(Instant::now()),
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl State {
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub fn connect(&mut self) -> (u64, watch::Receiver<Option<Error>>) {
        let id = self.next_id();
        let (sender, receiver) = watch::channel(None);
        self.connections.insert(id, sender);
        (id, receiver)
    }

    /// Ends one connection: its sessions give back what they hold, its exclusive queues go.
    pub fn disconnect(&mut self, connection: u64, reason: Error, lost: bool) {
        let Some(sender) = self.connections.remove(&connection) else { return };
        let mut sessions: Vec<u64> = self.sessions_of(connection);
        sessions.sort_unstable();
        for session in sessions {
            self.close_session(session, lost.then(|| reason.clone()));
        }
        let exclusive = |queue: &QueueState| queue.owner == Some(connection);
        let gone: Vec<_> =
            self.queues.iter().filter(|(_, queue)| exclusive(queue)).map(|(name, _)| name.clone()).collect();
        for queue in gone {
            self.delete_queue(&queue);
        }
        sender.send_replace(Some(reason));
    }

    fn sessions_of(&self, connection: u64) -> Vec<u64> {
        let own = |(_, session): &(&u64, &SessionState)| session.connection == connection;
        self.sessions.iter().filter(own).map(|(id, _)| *id).collect()
    }

    /// Ends every connection, as the loss of a broker does.
    pub fn sever(&mut self, reason: &str) {
        let mut connections: Vec<u64> = self.connections.keys().copied().collect();
        connections.sort_unstable();
        for connection in connections {
            self.disconnect(connection, Error::Lost(reason.to_owned()), true);
        }
    }

    pub fn declare(&mut self, connection: u64, topology: &Topology) -> Result<(), Error> {
        for exchange in topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty()) {
            match self.exchanges.get(&exchange.name) {
                None => {
                    self.exchanges.insert(exchange.name.clone(), exchange.clone());
                }
                Some(known) if known == exchange => {}
                Some(_) => return Err(Error::Precondition(format!("exchange {}", exchange.name))),
            }
        }
        for queue in &topology.queues {
            self.declare_queue(connection, queue)?;
        }
        for binding in &topology.bindings {
            self.bind(binding)?;
        }
        Ok(())
    }

    fn declare_queue(&mut self, connection: u64, queue: &crate::Queue) -> Result<(), Error> {
        if queue.kind == QueueKind::Stream {
            return Err(Error::Unsupported { transport: "memory", what: "keep a stream" });
        }
        let now = Instant::now();
        if let Some(known) = self.queues.get_mut(queue.name.as_str()) {
            if known.owner.is_some_and(|owner| owner != connection) {
                return Err(refused(&queue.name));
            }
            if known.declared != *queue {
                return Err(Error::Precondition(format!("queue {}", queue.name)));
            }
            known.touch(now);
        } else {
            let owner = queue.exclusive.then_some(connection);
            self.queues.insert(queue.name.as_str().into(), QueueState::new(queue.clone(), owner, now));
        }
        self.set_timer(&queue.name);
        Ok(())
    }

    fn bind(&mut self, binding: &Binding) -> Result<(), Error> {
        if !self.exchanges.contains_key(&binding.exchange) {
            return Err(Error::NotFound(format!("exchange {}", binding.exchange)));
        }
        if !self.queues.contains_key(binding.queue.as_str()) {
            return Err(Error::NotFound(format!("queue {}", binding.queue)));
        }
        let bindings = self.bindings.entry(binding.exchange.clone()).or_default();
        if !bindings.contains(binding) {
            bindings.push(binding.clone());
        }
        Ok(())
    }

    pub fn bindings(&self) -> Vec<Binding> {
        self.bindings.values().flatten().cloned().collect()
    }

    pub fn publish(&mut self, address: &Address, message: Message) -> Result<Published, Error> {
        let queues = self.route(&address.exchange, &address.routing_key)?;
        if queues.is_empty() && address.mandatory {
            return Ok(Published::Returned);
        }
        self.enqueue(queues, Entry::new(message, &address.exchange, &address.routing_key));
        Ok(Published::Accepted)
    }

    /// The queues that a message goes to, each once.
    fn route(&self, exchange: &str, routing_key: &str) -> Result<Vec<Arc<str>>, Error> {
        if exchange.is_empty() {
            return Ok(self
                .queues
                .get_key_value(routing_key)
                .map(|(name, _)| name.clone())
                .into_iter()
                .collect());
        }
        let kind = self.exchanges.get(exchange).map(|exchange| exchange.kind);
        let kind: ExchangeKind = kind.ok_or_else(|| Error::NotFound(format!("exchange {exchange}")))?;
        let bindings = self.bindings.get(exchange).map(Vec::as_slice).unwrap_or_default();
        let names: BTreeSet<&str> = bindings
            .iter()
            .filter(|binding| kind.matches(&binding.routing_key, routing_key))
            .map(|binding| binding.queue.as_str())
            .collect();
        Ok(names.into_iter().filter_map(|name| Some(self.queues.get_key_value(name)?.0.clone())).collect())
    }

    fn enqueue(&mut self, mut queues: Vec<Arc<str>>, entry: Entry) {
        let Some(last) = queues.pop() else { return };
        for queue in queues {
            self.push(&queue, entry.clone());
        }
        self.push(&last, entry);
    }

    fn push(&mut self, name: &Arc<str>, entry: Entry) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.push(entry, Instant::now());
        self.pump(name);
        self.set_timer(name);
    }

    /// Sends a message to its queue's dead-letter exchange, if it has one.
    pub fn bury(&mut self, queue: &str, mut entry: Entry, reason: DeathReason) {
        let Some(declared) = self.queues.get(queue).map(|queue| &queue.declared) else { return };
        let Some(exchange) = declared.dead_letter_exchange.clone() else { return };
        let routing_key = declared.dead_letter_routing_key.clone().unwrap_or(entry.routing_key.clone());
        let death = Death { reason, queue, exchange: &entry.exchange, routing_key: &entry.routing_key };
        if !death.record(&mut entry.message) {
            return;
        }
        if let Ok(queues) = self.route(&exchange, &routing_key) {
            self.enqueue(queues, Entry::new(entry.message, &exchange, &routing_key));
        }
    }

    /// Deletes a queue; its consumers are told.
    pub fn delete_queue(&mut self, name: &str) {
        let Some(queue) = self.queues.remove(name) else { return };
        for id in queue.consumers {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.forget(name);
                session.send(Event::Cancelled { queue: name.to_owned() });
            }
        }
        for (exchange, bindings) in &mut self.bindings {
            let before = bindings.len();
            bindings.retain(|binding| binding.queue != name);
            let deserted = bindings.is_empty() && before > 0;
            if deserted && self.exchanges.get(exchange).is_some_and(|exchange| exchange.auto_delete) {
                self.exchanges.remove(exchange);
            }
        }
        self.bindings.retain(|_, bindings| !bindings.is_empty());
    }

    /// Buries messages and deletes queues whose time is over, and sets the timer anew.
    fn expire(&mut self, now: Instant) {
        let due = |queue: &QueueState| queue.next_deadline().is_some_and(|deadline| deadline <= now);
        let names: Vec<_> =
            self.queues.iter().filter(|(_, queue)| due(queue)).map(|(name, _)| name.clone()).collect();
        for name in names {
            // What one burial brings into another queue is due at the next turn at the earliest.
            let mut expired = Vec::new();
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            while let Some(entry) = queue.pop_expired(now) {
                expired.push(entry);
            }
            let ended = queue.end().is_some_and(|end| end <= now);
            for entry in expired {
                self.bury(&name, entry, DeathReason::Expired);
            }
            if ended {
                self.delete_queue(&name);
            }
        }
        self.timer.send_replace(self.queues.values().filter_map(QueueState::next_deadline).min());
    }

    /// Makes sure that the timer fires in time for a queue.
    pub fn set_timer(&self, queue: &str) {
        let Some(deadline) = self.queues.get(queue).and_then(QueueState::next_deadline) else { return };
        self.timer.send_if_modified(|next| {
            let earlier = next.is_none_or(|next| deadline < next);
            if earlier {
                *next = Some(deadline);
            }
            earlier
        });
    }

    pub fn check(&self, connection: u64) -> Result<(), Error> {
        match self.connections.contains_key(&connection) {
            true => Ok(()),
            false => Err(Error::Lost("the connection is closed".to_owned())),
        }
    }
}

pub(super) fn refused(queue: &str) -> Error {
    Error::AccessRefused {
        broker: "memory:".to_owned(),
        reason: format!("queue {queue} is exclusive to somebody else"),
    }
}
