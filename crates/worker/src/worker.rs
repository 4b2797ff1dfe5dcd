mod course;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};
use std::sync::{Arc, Mutex};

use celeriac_broker::{Error, Transport};
use celeriac_cluster::heart::Heart as Machine;
use celeriac_cluster::state::Worker as Member;
use celeriac_protocol::Value;
use celeriac_results::ResultStore;
use chrono::Utc;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::blueprint::{Blueprint, GraphError, Step};
use crate::chatter::Chatter;
use crate::connection::ConnectionStep;
use crate::consumer::Consumer;
use crate::control::{Commands, Control, Handler};
use crate::counters::Counters;
use crate::error::WorkerError;
use crate::events::{Dispatcher, DispatcherSettings, Events};
use crate::evloop::Evloop;
use crate::executor::{Autoscaler, Factory, Hosted, NativeExecutor, Parts, Threads};
use crate::gossip::{Cluster, Gossip, Handlers};
use crate::heart::Heart;
use crate::mingle::Mingle;
use crate::observer::Observer;
use crate::producer::Producer;
use crate::requests::Requests;
use crate::revokes::Revokes;
use crate::served::Served;
use crate::settings::Settings;
use crate::shutdown::{Shutdown, ShutdownHandle};
use crate::statedb::StateDb;
use crate::task::Registry;
use crate::tasks::TasksStep;
use crate::trace::Tracer;

use course::{consume, end};

/// A worker: give it a broker, a result store and tasks, and run it.
pub struct Worker {
    settings: Settings,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ResultStore>,
    producer: Arc<Producer>,
    registry: Registry,
    counters: Arc<Counters>,
    shutdown: ShutdownHandle,
    commands: Commands,
    handlers: Handlers,
    steps: Vec<Box<dyn Step>>,
    factory: Option<Factory>,
    observer: Option<Arc<dyn Observer>>,
    revoked: Vec<String>,
    tasks_apart: bool,
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
        let events = settings.events.suited(transport.capabilities());
        Worker {
            settings: Settings { events, ..settings },
            transport,
            store,
            producer,
            registry,
            counters: Arc::default(),
            shutdown: ShutdownHandle::default(),
            commands: Commands::default(),
            handlers: Handlers::default(),
            steps: Vec::new(),
            factory: None,
            observer: None,
            revoked: Vec::new(),
            tasks_apart: false,
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

    /// Adds a step, which starts after those that it requires and before the worker is ready.
    #[must_use]
    pub fn step(mut self, step: impl Step + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// Has the tasks run by another executor than that of native ones, made when the worker starts.
    #[must_use]
    pub fn executor(mut self, make: impl FnOnce(Parts) -> Hosted + Send + 'static) -> Self {
        self.factory = Some(Box::new(make));
        self
    }

    /// Has native tasks run on threads of their own, made with the first of them, so that nothing they do holds up the
    /// worker's messages and heartbeats. Otherwise they share the runtime that the worker runs on.
    #[must_use]
    pub fn tasks_apart(mut self) -> Self {
        self.tasks_apart = true;
        self
    }

    /// Revokes these ids; those that the statedb has as well stay so for as long as it says.
    #[must_use]
    pub fn revoked(mut self, ids: Vec<String>) -> Self {
        self.revoked = ids;
        self
    }

    /// Has somebody hear of what the worker itself does.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Adds a command of remote control, or takes the place of one.
    #[must_use]
    pub fn control_command(mut self, name: impl Into<String>, handler: impl Handler) -> Self {
        self.commands.add(name, handler);
        self
    }

    /// Is called when another worker comes online.
    #[must_use]
    pub fn on_node_join(mut self, handler: impl Fn(&Member) + Send + Sync + 'static) -> Self {
        self.handlers.node_join.push(Box::new(handler));
        self
    }

    /// Is called when another worker goes offline by itself.
    #[must_use]
    pub fn on_node_leave(mut self, handler: impl Fn(&Member) + Send + Sync + 'static) -> Self {
        self.handlers.node_leave.push(Box::new(handler));
        self
    }

    /// Is called when nothing is heard of another worker any more.
    #[must_use]
    pub fn on_node_lost(mut self, handler: impl Fn(&Member) + Send + Sync + 'static) -> Self {
        self.handlers.node_lost.push(Box::new(handler));
        self
    }

    /// Is called with the action of an election of this topic that the worker has won. The topic `task` calls a
    /// task unless another handler is given.
    #[must_use]
    pub fn on_elected(
        mut self,
        topic: impl Into<String>,
        handler: impl Fn(&Arc<Consumer>, Value) + Send + Sync + 'static,
    ) -> Self {
        self.handlers.elected.insert(topic.into(), Box::new(handler));
        self
    }

    /// The graph of the steps, for `dot`.
    ///
    /// # Errors
    /// When the steps make no order.
    pub fn graph(self) -> Result<String, GraphError> {
        Ok(Blueprint::new(steps(self.steps))?.dot())
    }

    /// Runs until it is told to end; a lost broker is sought again for as long as the settings say.
    ///
    /// The end is in this order: no more deliveries are taken and what has not started goes back; what runs may
    /// finish, or is cancelled when its time is over; results and acknowledgements go out; the connection that
    /// consumes closes. Producer and store stay open for whoever shares them.
    ///
    /// # Errors
    /// When the broker cannot be used and trying again does not help (any more), the statedb cannot be used, or the
    /// steps make no order.
    pub async fn run(mut self) -> Result<(), WorkerError> {
        let mut blueprint = Blueprint::new(steps(std::mem::take(&mut self.steps)))?;
        let (lost, mut losses) = mpsc::unbounded_channel();
        let revoked = std::mem::take(&mut self.revoked);
        let consumer = Arc::new(self.consumer(lost));
        let statedb = match StateDb::open(&consumer).await {
            Ok(statedb) => statedb,
            Err(error) => {
                consumer.executor.cancel().await;
                return Err(error);
            }
        };
        consumer.revokes.take_over(&revoked);
        blueprint.include(&consumer);
        let outcome = consume(&consumer, &mut blueprint, &mut losses).await;
        if outcome.is_err() {
            // Tasks that wait for the broker would wait for ever.
            consumer.shutdown.request(Shutdown::Cold);
        }
        end(&consumer, &mut blueprint).await;
        if let Some(statedb) = statedb {
            statedb.close().await;
        }
        outcome
    }

    fn consumer(self, lost: mpsc::UnboundedSender<(u64, Error)>) -> Consumer {
        let settings = self.settings;
        let hostname: Arc<str> = settings.hostname.as_str().into();
        let chatter = Arc::<Chatter>::default();
        let dispatcher = DispatcherSettings {
            hostname: hostname.clone(),
            settings: settings.events.clone(),
            counters: self.counters.clone(),
            chatter: chatter.clone(),
            enabled: settings.task_events || settings.gossip || settings.heartbeat,
            task_events: settings.task_events,
        };
        let (line, clock) = (self.producer.line().clone(), self.producer.clock().clone());
        let revokes = Arc::new(Revokes::new(settings.revokes_max, settings.revoke_expires.as_secs_f64()));
        let events = Arc::new(Dispatcher::new(dispatcher, clock.clone(), line));
        let native = || {
            let tracer = Arc::new(Tracer {
                hostname: hostname.clone(),
                accept: settings.accept.clone(),
                result_extended: settings.result_extended,
                chord_join_timeout: settings.result_chord_join_timeout,
                retry: settings.result_retry,
                store: self.store.clone(),
                events: events.clone(),
                revokes: revokes.clone(),
                producer: self.producer.clone(),
                counters: self.counters.clone(),
            });
            let most = settings.autoscale.map_or(settings.concurrency, |bounds| bounds.max);
            let threads = Threads::new(self.tasks_apart.then_some(most));
            let executor = NativeExecutor::new(settings.concurrency, &tracer, threads);
            Hosted { executor: Arc::new(executor), backend: tracer }
        };
        let parts = || Parts {
            settings: settings.clone(),
            events: events.clone(),
            revokes: revokes.clone(),
            counters: self.counters.clone(),
        };
        let Hosted { mut executor, backend } = self.factory.map_or_else(native, |make| make(parts()));
        let autoscaler = settings.autoscale.map(|bounds| Autoscaler::new(executor.clone(), bounds));
        if let Some(autoscaler) = &autoscaler {
            executor = autoscaler.clone();
        }
        let served = |name: &str| {
            let task = self.registry.task(name)?.clone();
            Some((name.to_owned(), Arc::new(Served::new(name, task, &settings))))
        };
        Consumer {
            tasks: self.registry.names().into_iter().filter_map(served).collect::<HashMap<_, _>>(),
            executor,
            autoscaler,
            backend,
            observer: self.observer,
            events,
            store: self.store,
            producer: self.producer,
            transport: self.transport,
            counters: self.counters,
            chatter,
            revokes,
            requests: Arc::<Requests>::default(),
            commands: self.commands,
            handlers: self.handlers,
            cluster: Cluster::default(),
            heart: Mutex::new(Machine::new(
                settings.heartbeat_interval.as_secs_f64(),
                Utc::now().timestamp_millis().unsigned_abs(),
            )),
            started: Instant::now(),
            shutdown: self.shutdown,
            lost,
            generation: AtomicU64::new(0),
            cured: AtomicBool::new(false),
            stock: AtomicU16::new(0),
            clock,
            queues: Mutex::new(settings.task_queues()),
            intake: Mutex::default(),
            connection: Mutex::default(),
            listener: tokio::sync::Mutex::default(),
            settings,
        }
    }
}

/// Every step, the user's own before the last.
fn steps(own: Vec<Box<dyn Step>>) -> Vec<Box<dyn Step>> {
    let mut steps: Vec<Box<dyn Step>> = vec![
        Box::<ConnectionStep>::default(),
        Box::<Events>::default(),
        Box::<Mingle>::default(),
        Box::<Control>::default(),
        Box::<TasksStep>::default(),
        // What a broker has to do for the chatter of a thousand that start would hold up their start.
        Box::<Gossip>::default(),
        Box::<Heart>::default(),
    ];
    steps.extend(own);
    steps.push(Box::<Evloop>::default());
    steps
}
