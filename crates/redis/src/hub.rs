//! What the sessions of a connection share.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use celeriac_broker::{Error, ExchangeKind};
use futures_util::StreamExt;
use redis::aio::PubSubSink;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::client::Link;
use crate::io::IO;
use crate::keys::{Channel, Keys};
use crate::restore::OWNER;
use crate::signals::{Fate, Signals};
use crate::twins::Twins;
use crate::{RedisTransport, pulse, reaper, router};

/// A connection, as its sessions see it.
pub(crate) struct Hub {
    /// Itself, for what runs beside it.
    own: Weak<Hub>,
    /// What serves it.
    pub io: &'static Handle,
    pub link: Link,
    pub keys: Arc<Keys>,
    /// The name by which it takes leases.
    pub owner: String,
    pub declared: Mutex<Declared>,
    listeners: Mutex<Listeners>,
    twins: Mutex<Twins>,
    ears: tokio::sync::Mutex<Ears>,
    tracking: OnceCell<bool>,
    pulse: OnceCell<[JoinHandle<()>; 2]>,
    last_session: AtomicU64,
    /// A session has not given back all that it held.
    owes: AtomicBool,
    closed: watch::Sender<Option<Error>>,
}

/// What this connection has declared.
#[derive(Default)]
pub(crate) struct Declared {
    pub exchanges: HashMap<String, (ExchangeKind, String)>,
    pub queues: HashMap<String, String>,
    /// How long messages of fanout exchanges may wait for room in a session.
    pub ttls: HashMap<String, Duration>,
}

#[derive(Default)]
struct Listeners {
    sessions: HashMap<u64, Arc<Signals>>,
    channels: HashMap<Channel, Vec<(u64, Arc<str>)>>,
    /// Queues that are bound to fanout exchanges.
    live: HashSet<String>,
}

/// Who listens to what. It is locked while Redis is told, so that the two agree.
#[derive(Default)]
struct Ears {
    bound: HashMap<String, BTreeSet<Channel>>,
    consumed: HashMap<String, BTreeSet<u64>>,
    /// The other socket, where one is needed.
    sink: Option<PubSubSink>,
}

impl Hub {
    /// Opens a connection; runs where connections are served.
    pub async fn open(transport: &RedisTransport) -> Result<Arc<Self>, Error> {
        let io = IO.handle()?;
        let (link, pushes) = Link::open(transport).await?;
        let hub = Arc::new_cyclic(|own| Hub {
            own: own.clone(),
            io,
            link,
            keys: transport.keys.clone(),
            owner: format!("{OWNER}{}", Uuid::new_v4().simple()),
            declared: Mutex::default(),
            listeners: Mutex::default(),
            twins: Mutex::default(),
            ears: tokio::sync::Mutex::default(),
            tracking: OnceCell::new(),
            pulse: OnceCell::new(),
            last_session: AtomicU64::new(0),
            owes: AtomicBool::new(false),
            closed: watch::Sender::new(None),
        });
        io.spawn(router::run(pushes, Arc::downgrade(&hub)));
        Ok(hub)
    }

    /// Why the connection is closed, if it is.
    pub fn check(&self) -> Result<(), Error> {
        self.closed.borrow().clone().map_or(Ok(()), Err)
    }

    pub async fn closed(&self) -> Error {
        let mut closed = self.closed.subscribe();
        let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| Error::Lost("closed".to_owned()))
    }

    /// Shows a first sign of life, and goes on to.
    pub async fn live(&self) -> Result<(), Error> {
        let begin = || async {
            pulse::beat(self, true).await?;
            let (dead, graves) = mpsc::channel(1);
            let beating = self.io.spawn(pulse::run(self.own.clone(), dead));
            Ok([beating, self.io.spawn(reaper::run(self.own.clone(), graves))])
        };
        self.pulse.get_or_try_init(begin).await.map(drop)
    }

    /// Whether Redis tells us when lists change.
    pub async fn is_tracking(&self) -> bool {
        *self.tracking.get_or_init(|| self.link.track()).await
    }

    /// Registers a session.
    pub fn enter(&self) -> (u64, Arc<Signals>) {
        let id = self.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        let signals = Arc::<Signals>::default();
        self.listeners().sessions.insert(id, signals.clone());
        (id, signals)
    }

    pub fn exit(&self, session: u64) {
        self.listeners().sessions.remove(&session);
    }

    pub fn is_live(&self, queue: &str) -> bool {
        self.listeners().live.contains(queue)
    }

    /// Has all sessions that read these lists look at them; `None` is all.
    pub fn changed(&self, keys: Option<&[Vec<u8>]>) {
        for session in self.listeners().sessions.values() {
            session.changed(keys);
        }
    }

    /// Hands on a message of a fanout exchange.
    pub fn heard(&self, channel: &Channel, payload: &Bytes) {
        if self.keys.hears_twice() {
            let twin = self.keys.new_ear(channel).unwrap_or_else(|| channel.clone());
            if !lock(&self.twins).is_new(twin, payload) {
                return;
            }
        }
        let listeners = self.listeners();
        for (session, queue) in listeners.channels.get(channel).into_iter().flatten() {
            if let Some(session) = listeners.sessions.get(session) {
                let ttl = lock(&self.declared).ttls.get(&**queue).copied();
                session.heard(queue.clone(), payload.clone(), ttl);
            }
        }
    }

    /// Tells everybody that the connection is lost.
    pub fn lose(&self, error: Error) {
        if !self.set_closed(error.clone()) {
            return;
        }
        self.stop_pulse();
        for (_, session) in self.listeners().sessions.drain() {
            session.end(Fate::Lost(error.clone()));
        }
    }

    /// Others have taken this connection for dead, and given away what it held: whoever uses it learns that it is lost.
    pub fn buried(&self) -> Error {
        let reason = "nothing was heard of us for too long: what we held is given to others";
        let error = Error::Lost(reason.to_owned());
        self.lose(error.clone());
        error
    }

    /// Gives everything back, and leaves.
    pub async fn close(&self) {
        let (ending, mut ended) = mpsc::channel(1);
        if !self.set_closed(Error::Lost("closed by this side".to_owned())) {
            return;
        }
        for session in self.listeners().sessions.values() {
            session.end(Fate::End(ending.clone()));
        }
        drop(ending);
        while ended.recv().await.is_some() {}
        if self.pulse.initialized() {
            self.stop_pulse();
            if self.owes.load(Ordering::Relaxed) {
                return; // who is silent is buried, and what it held given back; who has left is not
            }
            let leave = self.link.call(&self.link.scripts.leave, &[], |call| call.arg(&self.owner));
            if let Err(error) = leave.await {
                tracing::debug!("could not take leave of Redis: others will notice: {error}");
            }
        }
    }

    /// A session ends without giving back what it holds.
    pub fn owe(&self) {
        self.owes.store(true, Ordering::Relaxed);
    }

    /// Notes that a queue is bound to a fanout exchange; whoever consumes it here hears it from now on.
    pub async fn bind(&self, queue: &str, channel: Channel) -> Result<(), Error> {
        let mut ears = self.ears.lock().await;
        self.listeners().live.insert(queue.to_owned());
        if ears.bound.entry(queue.to_owned()).or_default().insert(channel.clone()) {
            let sessions = ears.consumed.get(queue).cloned().unwrap_or_default();
            for session in sessions {
                if let Err(error) = self.attach(&mut ears, &channel, session, queue).await {
                    // Whoever asks again gets it done.
                    ears.bound.entry(queue.to_owned()).or_default().remove(&channel);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A session consumes a queue.
    pub async fn consume(&self, queue: &str, session: u64) -> Result<(), Error> {
        let mut ears = self.ears.lock().await;
        if ears.consumed.entry(queue.to_owned()).or_default().insert(session) {
            for channel in ears.bound.get(queue).cloned().unwrap_or_default() {
                self.attach(&mut ears, &channel, session, queue).await?;
            }
        }
        Ok(())
    }

    /// A session does not consume a queue any more.
    pub async fn cease(&self, queue: &str, session: u64) -> Result<(), Error> {
        let mut ears = self.ears.lock().await;
        let sessions = ears.consumed.get_mut(queue);
        if sessions.is_some_and(|sessions| sessions.remove(&session)) {
            ears.consumed.retain(|_, sessions| !sessions.is_empty());
            for channel in ears.bound.get(queue).cloned().unwrap_or_default() {
                self.detach(&mut ears, &channel, session, queue).await?;
            }
        }
        Ok(())
    }

    /// A queue is deleted.
    pub async fn forget(&self, queue: &str) -> Result<(), Error> {
        let mut ears = self.ears.lock().await;
        let sessions = ears.consumed.get(queue).cloned().unwrap_or_default();
        for channel in ears.bound.remove(queue).unwrap_or_default() {
            for session in &sessions {
                self.detach(&mut ears, &channel, *session, queue).await?;
            }
        }
        self.listeners().live.remove(queue);
        let mut declared = lock(&self.declared);
        declared.queues.remove(queue);
        declared.ttls.remove(queue);
        Ok(())
    }

    async fn attach(
        &self,
        ears: &mut Ears,
        channel: &Channel,
        session: u64,
        queue: &str,
    ) -> Result<(), Error> {
        let is_new = {
            let mut listeners = self.listeners();
            let routes = listeners.channels.entry(channel.clone()).or_default();
            routes.push((session, queue.into()));
            routes.len() == 1
        };
        if !is_new {
            return Ok(());
        }
        let answer = if self.link.pushes {
            let mut connection = self.link.connection();
            match channel {
                Channel::Exact(name) => connection.subscribe(name).await,
                Channel::Pattern(glob) => connection.psubscribe(glob).await,
            }
        } else {
            let sink = self.sink(ears).await?;
            match channel {
                Channel::Exact(name) => sink.subscribe(name).await,
                Channel::Pattern(glob) => sink.psubscribe(glob).await,
            }
        };
        answer.map_err(|error| {
            self.listeners().channels.remove(channel);
            self.link.error(&error)
        })
    }

    async fn detach(
        &self,
        ears: &mut Ears,
        channel: &Channel,
        session: u64,
        queue: &str,
    ) -> Result<(), Error> {
        let is_last = {
            let mut listeners = self.listeners();
            let Some(routes) = listeners.channels.get_mut(channel) else { return Ok(()) };
            routes.retain(|(id, name)| *id != session || **name != *queue);
            routes.is_empty() && listeners.channels.remove(channel).is_some()
        };
        if !is_last {
            return Ok(());
        }
        let answer = match (&mut ears.sink, channel) {
            (Some(sink), Channel::Exact(name)) => sink.unsubscribe(name).await,
            (Some(sink), Channel::Pattern(glob)) => sink.punsubscribe(glob).await,
            (None, Channel::Exact(name)) => self.link.connection().unsubscribe(name).await,
            (None, Channel::Pattern(glob)) => self.link.connection().punsubscribe(glob).await,
        };
        answer.map_err(|error| self.link.error(&error))
    }

    /// The other socket, opened if there is none.
    async fn sink<'a>(&self, ears: &'a mut Ears) -> Result<&'a mut PubSubSink, Error> {
        if ears.sink.is_none() {
            let link = self.own.upgrade().ok_or_else(|| Error::Lost("closed".to_owned()))?;
            let socket = IO.run(async move { link.link.pubsub().await });
            let (sink, mut messages) = socket.await?.split();
            ears.sink = Some(sink);
            let hub = self.own.clone();
            self.io.spawn(async move {
                while let Some(message) = messages.next().await {
                    let Some(hub) = hub.upgrade() else { return };
                    router::hear(&hub, &message);
                }
                if let Some(hub) = hub.upgrade() {
                    hub.lose(Error::Lost("Redis closed the connection".to_owned()));
                }
            });
        }
        ears.sink.as_mut().ok_or_else(|| Error::Lost("no socket for messages".to_owned()))
    }

    fn set_closed(&self, error: Error) -> bool {
        self.closed.send_if_modified(|closed| {
            let is_first = closed.is_none();
            if is_first {
                *closed = Some(error);
            }
            is_first
        })
    }

    fn stop_pulse(&self) {
        self.pulse.get().into_iter().flatten().for_each(JoinHandle::abort);
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        lock(&self.listeners)
    }
}

/// A lock that no panic poisons: what it guards is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
