//! The zygote of a pool and its service, whichever these are at the moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use celeriac_protocol::{Map, Value};
use celeriac_worker::Backoff;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::Pool;
use crate::host::{
    About, Action, Call, Child, Events, HostError, Lost, Service, StartError, Started, Zygote,
};

/// How long the service may take for one thing: an app's receivers and result store may hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks for a zygote that is being started again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the zygote may take to end.
const END: Duration = Duration::from_secs(5);

/// Starts a zygote again that has died.
pub type Revive = Box<dyn Fn() -> BoxFuture<'static, Result<Started, StartError>> + Send + Sync>;

/// A zygote that is started again when it dies, and a service that is forked when somebody needs it.
pub struct Home {
    zygote: Mutex<Arc<Zygote>>,
    service: tokio::sync::Mutex<Option<Arc<Service>>>,
    revive: Revive,
    stopped: AtomicBool,
    /// The pool that lives here.
    pub(super) pool: OnceLock<Weak<Pool>>,
}

impl Home {
    /// Of a zygote that has started.
    pub fn new(zygote: Zygote, revive: Revive) -> Arc<Self> {
        Arc::new(Home {
            zygote: Mutex::new(Arc::new(zygote)),
            service: tokio::sync::Mutex::default(),
            revive,
            stopped: AtomicBool::new(false),
            pool: OnceLock::new(),
        })
    }

    /// Sends one of the app's signals.
    ///
    /// # Errors
    /// Those of [`Service::signal`], and when there can be no service; [`HostError::Busy`] when it takes too long.
    pub async fn signal(
        &self,
        name: &str,
        arguments: &Map,
        about: Option<About<'_>>,
    ) -> Result<(), HostError> {
        let service = self.service().await?;
        match timeout(PATIENCE, service.signal(name, arguments, about)).await {
            Ok(sent) => sent,
            Err(_) => Err(self.give_up(&service).await),
        }
    }

    /// Gives a record to the app's logging: [`Service::log`].
    ///
    /// # Errors
    /// As [`signal`](Home::signal).
    pub async fn log(&self, level: u8, logger: &str, text: &str, created: f64) -> Result<(), HostError> {
        let service = self.service().await?;
        match timeout(PATIENCE, service.log(level, logger, text, created)).await {
            Ok(sent) => sent,
            Err(_) => Err(self.give_up(&service).await),
        }
    }

    /// Returns when the service has done all that it was told before.
    ///
    /// # Errors
    /// As [`control`](Home::control).
    pub async fn settled(&self) -> Result<(), HostError> {
        self.control("ping", &Map::new()).await.map(drop)
    }

    /// Runs a remote control command and gives its reply.
    ///
    /// # Errors
    /// Those of [`Service::control`]; [`HostError::Busy`] when it takes too long.
    pub async fn control(&self, name: &str, arguments: &Map) -> Result<Value, HostError> {
        let service = self.service().await?;
        match timeout(PATIENCE, service.control(name, arguments)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.give_up(&service).await),
        }
    }

    /// Leaves these revoked ids in Celery's own statedb: [`Service::keep_revoked`].
    ///
    /// # Errors
    /// As [`control`](Home::control).
    pub async fn keep_revoked(&self, path: &str, ids: &[String]) -> Result<(), HostError> {
        let service = self.service().await?;
        match timeout(PATIENCE, service.keep_revoked(path, ids)).await {
            Ok(kept) => kept,
            Err(_) => Err(self.give_up(&service).await),
        }
    }

    /// The children that can take jobs, by their names.
    pub fn children(&self) -> Vec<(String, Arc<Child>)> {
        self.pool.get().and_then(Weak::upgrade).map(|pool| pool.up()).unwrap_or_default()
    }

    /// Has the app begin nothing new by itself: ends the embedded beat.
    pub async fn quiet(&self) {
        self.zygote().quiet().await;
    }

    /// Ends the zygote and all that it has forked, after the app's exit handlers, or without them when they hang.
    pub async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.service.lock().await.take();
        let zygote = self.zygote();
        if timeout(END, zygote.stop()).await.is_err() {
            tracing::warn!("The app's exit handlers do not end: they are killed");
        }
    }

    /// Has the service do what Celery's main process does for a task that its child could not end.
    pub(super) async fn lost(&self, call: &Call<'_>, why: Lost<'_>) -> Result<Vec<Action>, HostError> {
        let service = self.service().await?;
        match timeout(PATIENCE, service.lost(call, why)).await {
            Ok(Err(HostError::Gone)) => {
                // It died of something else, or of this, which a second one is not spared either: once more.
                let service = self.service().await?;
                timeout(PATIENCE, service.lost(call, why)).await.unwrap_or(Err(HostError::Busy))
            }
            Ok(actions) => actions,
            Err(_) => Err(self.give_up(&service).await),
        }
    }

    pub(super) async fn fork(&self, index: u32) -> Result<Child, HostError> {
        let zygote = self.zygote();
        zygote.fork(index).await
    }

    /// Starts another zygote, again and again with growing pauses.
    pub(super) async fn revive(&self) -> Events {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            match (self.revive)().await {
                Ok(Started { zygote, events, .. }) => {
                    *self.zygote.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(zygote);
                    return events;
                }
                Err(error) => tracing::error!("The app cannot be started again: {error}"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    fn zygote(&self) -> Arc<Zygote> {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The service; another one when it has ended.
    async fn service(&self) -> Result<Arc<Service>, HostError> {
        let mut slot = self.service.lock().await;
        if let Some(service) = slot.as_ref().filter(|service| service.ended().now_or_never().is_none()) {
            return Ok(service.clone());
        }
        let patience = Instant::now() + PATIENCE;
        let service = loop {
            match self.zygote().service().await {
                // It is being started again.
                Err(HostError::Gone)
                    if !self.stopped.load(Ordering::Acquire) && Instant::now() < patience =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                service => break Arc::new(service?),
            }
        };
        *slot = Some(service.clone());
        Ok(service)
    }

    /// Forgets a service that hangs; the next question has another one.
    async fn give_up(&self, hung: &Arc<Service>) -> HostError {
        tracing::error!("The service does not answer within {PATIENCE:?}: another one is started");
        let mut slot = self.service.lock().await;
        if slot.as_ref().is_some_and(|service| Arc::ptr_eq(service, hung)) {
            slot.take();
        }
        HostError::Busy
    }
}
