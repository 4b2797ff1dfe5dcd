use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celeriac_broker::{Connection, Error, Transport};
use celeriac_results::ResultStore;
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::blueprint::Blueprint;
use crate::connection::ConnectionStep;
use crate::control::ControlStep;
use crate::counters::Counters;
use crate::error::WorkerError;
use crate::executor::Executor;
use crate::producer::Producer;
use crate::settings::Settings;
use crate::shutdown::{Shutdown, ShutdownHandle};
use crate::task::Registry;
use crate::tasks::TasksStep;
use crate::trace::Tracer;

/// A worker: give it a broker, a result store and tasks, and run it.
pub struct Worker {
    settings: Settings,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ResultStore>,
    producer: Arc<Producer>,
    registry: Registry,
    counters: Arc<Counters>,
    shutdown: ShutdownHandle,
}

/// What the steps of a worker share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) executor: Executor,
    lost: mpsc::UnboundedSender<(u64, Error)>,
    /// How often a connection was opened.
    generation: AtomicU64,
    /// Everything was built anew because nothing came, and nothing has come since.
    pub(crate) cured: AtomicBool,
    connection: Mutex<Option<Arc<dyn Connection>>>,
}

/// Where the parts that serve one connection tell that it is lost.
#[derive(Clone)]
pub(crate) struct Losses {
    generation: u64,
    lost: mpsc::UnboundedSender<(u64, Error)>,
}

impl Losses {
    pub(crate) fn tell(&self, error: Error) {
        let _ = self.lost.send((self.generation, error));
    }
}

impl Shared {
    /// From now on this connection consumes; what is told of earlier ones does not count.
    pub(crate) fn set_connection(&self, connection: Arc<dyn Connection>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    pub(crate) fn losses(&self) -> Losses {
        Losses { generation: self.generation.load(Ordering::Acquire), lost: self.lost.clone() }
    }

    /// The connection that consumes.
    pub(crate) fn connection(&self) -> Result<Arc<dyn Connection>, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connection.ok_or_else(|| Error::Lost("not connected".to_owned()))
    }
}

impl Worker {
    /// A worker that has not started. What its tasks send goes by `producer`.
    pub fn new(
        transport: Arc<dyn Transport>,
        store: Arc<dyn ResultStore>,
        producer: Arc<Producer>,
        registry: Registry,
        settings: Settings,
    ) -> Self {
        Worker {
            settings,
            transport,
            store,
            producer,
            registry,
            counters: Arc::default(),
            shutdown: ShutdownHandle::default(),
        }
    }

    /// Tells the worker to end, from anywhere.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// What the worker has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Runs until it is told to end; a lost broker is sought again for as long as the settings say.
    ///
    /// The end is in this order: no more deliveries are taken and what has not started goes back; what runs may
    /// finish, or is cancelled when its time is over; results and acknowledgements go out; the connection that
    /// consumes closes. Producer and store stay open for whoever shares them.
    ///
    /// # Errors
    /// When the broker cannot be used and trying again does not help (any more).
    pub async fn run(self) -> Result<(), WorkerError> {
        let (lost, mut losses) = mpsc::unbounded_channel();
        let tracer = Arc::new(Tracer {
            hostname: self.settings.hostname.as_str().into(),
            accept: self.settings.accept.clone(),
            result_extended: self.settings.result_extended,
            store: self.store.clone(),
            producer: self.producer.clone(),
            counters: self.counters.clone(),
        });
        let shared = Arc::new(Shared {
            executor: Executor::new(self.settings.concurrency, &tracer),
            tracer,
            settings: self.settings,
            transport: self.transport,
            registry: self.registry,
            counters: self.counters,
            lost,
            generation: AtomicU64::new(0),
            cured: AtomicBool::new(false),
            connection: Mutex::default(),
        });
        let mut blueprint = Blueprint::new(vec![
            Box::<ConnectionStep>::default(),
            Box::<ControlStep>::default(),
            Box::<TasksStep>::default(),
        ]);
        let outcome = consume(&shared, &mut blueprint, &mut losses, &self.shutdown).await;
        if outcome.is_err() {
            // Tasks that wait for the broker would wait for ever.
            self.shutdown.request(Shutdown::Cold);
        }
        end(&shared, &mut blueprint, &self.shutdown).await;
        outcome
    }
}

/// Keeps the steps running until a shutdown is asked for.
async fn consume(
    shared: &Arc<Shared>,
    blueprint: &mut Blueprint,
    losses: &mut mpsc::UnboundedReceiver<(u64, Error)>,
    shutdown: &ShutdownHandle,
) -> Result<(), WorkerError> {
    let mut was_ready = false;
    loop {
        tokio::select! {
            started = start(shared, blueprint, was_ready) => started?,
            () = shutdown.reached(Shutdown::Warm) => return Ok(()),
        }
        tracing::info!("{} ready.", shared.settings.hostname);
        was_ready = true;
        let error = tokio::select! {
            error = loss(shared, losses) => error,
            () = shutdown.reached(Shutdown::Warm) => return Ok(()),
        };
        tracing::warn!(
            "consumer: Connection to broker lost. Trying to re-establish the connection... ({error})"
        );
        blueprint.stop().await;
        shared.executor.discard_waiting();
        if shared.settings.cancel_on_connection_loss {
            shared.executor.cancel_late();
        }
        if !error.is_recoverable() {
            return Err(error.into());
        }
    }
}

/// The next loss of the connection in use; one loss is told by several parts, and perhaps late.
async fn loss(shared: &Shared, losses: &mut mpsc::UnboundedReceiver<(u64, Error)>) -> Error {
    while let Some((generation, error)) = losses.recv().await {
        if generation == shared.generation.load(Ordering::Acquire) {
            return error;
        }
    }
    // `shared` holds a sender.
    std::future::pending().await
}

/// Starts the steps, again and again with growing pauses (`celery/worker/consumer/consumer.py`, `connect`).
async fn start(shared: &Arc<Shared>, blueprint: &mut Blueprint, was_ready: bool) -> Result<(), Error> {
    let settings = &shared.settings;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut tries = 0;
    loop {
        let error = match blueprint.start(shared).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let may_retry = was_ready || settings.connection_retry_on_startup;
        let left = settings.connection_max_retries.is_none_or(|limit| tries < limit);
        if !error.is_recoverable() || !may_retry || !left {
            return Err(error);
        }
        tries += 1;
        let wait = backoff.next();
        let limit = settings.connection_max_retries.map(|limit| format!("/{limit}")).unwrap_or_default();
        tracing::error!(
            "consumer: {error}. Trying again in {:.2} seconds... ({tries}{limit})",
            wait.as_secs_f64()
        );
        tokio::time::sleep(wait).await;
    }
}

/// Quiet, then the deadline, then the rest goes back; what sends is closed before what receives.
async fn end(shared: &Shared, blueprint: &mut Blueprint, shutdown: &ShutdownHandle) {
    blueprint.quiet().await;
    shared.executor.discard_waiting();
    let graceful = async {
        shutdown.reached(Shutdown::Cold).await;
        let timeout = shared.settings.soft_shutdown_timeout;
        if !timeout.is_zero() && shared.executor.load() > 0 {
            tracing::warn!("Initiating Soft Shutdown, terminating in {} seconds", timeout.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(timeout) => {}
                () = shutdown.reached(Shutdown::Now) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.executor.idle() => {}
        () = graceful => {}
    }
    shared.executor.cancel().await;
    blueprint.stop().await;
}
