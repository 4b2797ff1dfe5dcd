//! What the steps of a worker share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_broker::{Connection, Error, Subscription, Topology, Transport};
use celeriac_cluster::heart::Heart as Machine;
use celeriac_protocol::LamportClock;
use celeriac_results::ResultStore;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::chatter::Chatter;
use crate::control::Commands;
use crate::counters::Counters;
use crate::events::Dispatcher;
use crate::executor::{Autoscaler, Executor};
use crate::gossip::{Cluster, Handlers};
use crate::listener::{Listener, Mailbox};
use crate::observer::Observer;
use crate::producer::Producer;
use crate::queues::TaskQueue;
use crate::requests::Requests;
use crate::revokes::Revokes;
use crate::served::Served;
use crate::settings::Settings;
use crate::shutdown::ShutdownHandle;
use crate::tasks::Change;

/// A running worker, as its steps and its remote control commands see it (Celery's `Consumer`).
pub struct Consumer {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn Transport>,
    /// The tasks, by name.
    pub(crate) tasks: HashMap<String, Arc<Served>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) chatter: Arc<Chatter>,
    pub(crate) store: Arc<dyn ResultStore>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) events: Arc<Dispatcher>,
    pub(crate) executor: Arc<dyn Executor>,
    /// Resizes the executor, with `--autoscale`.
    pub(crate) autoscaler: Option<Arc<Autoscaler>>,
    /// Stores what the executor does not run.
    pub(crate) backend: Arc<dyn Backend>,
    /// Who hears of what is done here.
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) revokes: Arc<Revokes>,
    pub(crate) requests: Arc<Requests>,
    /// The commands of remote control.
    pub(crate) commands: Commands,
    /// What is told when another worker comes or goes.
    pub(crate) handlers: Handlers,
    /// The other workers.
    pub(crate) cluster: Cluster,
    pub(crate) heart: Mutex<Machine>,
    pub(crate) started: Instant,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) lost: mpsc::UnboundedSender<(u64, Error)>,
    /// How often a connection was opened.
    pub(crate) generation: AtomicU64,
    /// Everything was built anew because nothing came, and nothing has come since.
    pub(crate) cured: AtomicBool,
    pub(crate) clock: Arc<LamportClock>,
    /// The prefetch count while the executor has a stock of deliveries, else 0.
    pub(crate) stock: AtomicU16,
    /// The queues that are consumed; remote control changes them.
    pub(crate) queues: Mutex<Vec<TaskQueue>>,
    /// Who consumes them, while somebody does.
    pub(crate) intake: Mutex<Option<mpsc::UnboundedSender<Change>>>,
    pub(crate) connection: Mutex<Option<Arc<dyn Connection>>>,
    pub(crate) listener: tokio::sync::Mutex<Option<Listener>>,
}

/// Where the parts that serve one connection tell that it is lost.
#[derive(Clone)]
pub(crate) struct Losses {
    pub(crate) generation: u64,
    pub(crate) lost: mpsc::UnboundedSender<(u64, Error)>,
}

impl Losses {
    pub(crate) fn tell(&self, error: Error) {
        let _ = self.lost.send((self.generation, error));
    }
}

impl Consumer {
    /// The worker's name, `celery@host`.
    pub fn hostname(&self) -> &str {
        &self.settings.hostname
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The logical clock of everything that it sends.
    pub fn clock(&self) -> &Arc<LamportClock> {
        &self.clock
    }

    /// What sends its events.
    pub fn events(&self) -> &Arc<Dispatcher> {
        &self.events
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the cluster has cost it so far.
    pub fn chatter(&self) -> &Chatter {
        &self.chatter
    }

    /// The other workers that it knows of.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Tells it to end.
    pub fn shutdown(&self) -> &ShutdownHandle {
        &self.shutdown
    }

    /// Seconds since the start, by a clock that is never set.
    pub(crate) fn steady(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The connection that consumes.
    ///
    /// # Errors
    /// [`Error::Lost`] while there is none.
    pub fn connection(&self) -> Result<Arc<dyn Connection>, Error> {
        let connection = lock(&self.connection).clone();
        connection.ok_or_else(|| Error::Lost("not connected".to_owned()))
    }

    /// From now on this connection consumes; what is told of earlier ones does not count.
    pub(crate) fn set_connection(&self, connection: Arc<dyn Connection>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        *lock(&self.connection) = Some(connection);
    }

    pub(crate) fn losses(&self) -> Losses {
        Losses { generation: self.generation.load(Ordering::Acquire), lost: self.lost.clone() }
    }

    /// Declares a queue and takes what comes from it, by the one session that all such queues share.
    pub(crate) async fn listen(&self, topology: &Topology, queue: &str) -> Result<Mailbox, Error> {
        self.listen_as(topology, Subscription::new(queue)).await
    }

    /// The same, with more to say of how the queue is consumed.
    pub(crate) async fn listen_as(
        &self,
        topology: &Topology,
        subscription: Subscription,
    ) -> Result<Mailbox, Error> {
        let connection = self.connection()?;
        let mut slot = self.listener.lock().await;
        let listener = match slot.take() {
            Some(listener) => listener,
            None => Listener::open(&*connection, self.losses()).await?,
        };
        let listening = slot.insert(listener).listen(&*connection, topology, subscription).await;
        // A queue that is gone as soon as it is declared has expired: the broker is slow, not wrong.
        listening.map_err(|error| match error {
            Error::NotFound(_) => Error::Lost(error.to_string()),
            error => error,
        })
    }

    pub(crate) async fn close_listener(&self) {
        let listener = self.listener.lock().await.take();
        if let Some(listener) = listener {
            listener.close().await;
        }
    }

    /// How many deliveries may be unsettled, before those that wait for their time; 0 is no limit.
    pub(crate) fn prefetch(&self) -> u16 {
        self.settings.prefetch_of(self.most_at_once())
    }

    /// How many tasks may run at once at most.
    pub(crate) fn most_at_once(&self) -> usize {
        let most = self.autoscaler.as_ref().map(|autoscaler| autoscaler.bounds().max);
        most.unwrap_or_else(|| self.executor.concurrency())
    }

    /// Whether a message is taken only when a task can run at once.
    pub(crate) fn takes_nothing_ahead(&self) -> bool {
        self.settings.disable_prefetch && self.transport.capabilities().kept_places
    }

    /// How many deliveries may be unsettled, before those that wait for something other than a free place to run.
    pub(crate) fn window(&self) -> u16 {
        match self.takes_nothing_ahead() {
            true => u16::try_from(self.most_at_once()).unwrap_or(u16::MAX).max(1),
            false => self.prefetch(),
        }
    }

    /// Has the intake do something; false while there is none.
    pub(crate) fn change(&self, change: Change) -> bool {
        lock(&self.intake).as_ref().is_some_and(|intake| intake.send(change).is_ok())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
