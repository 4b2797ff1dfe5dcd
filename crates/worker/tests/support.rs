//! A worker with a broker and a result store in memory, and tasks made of closures.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Address, Connection, Line, MemoryTransport, Queue, Transport};
use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Map, Message, State, TaskMeta, Value};
use celeriac_results::{MemoryStore, ResultStore, Settings as ResultSettings};
use celeriac_worker::{
    ArgumentError, Call, Counters, NativeTask, Producer, ProducerSettings, Queues, Registry, Run, Settings,
    Shutdown, ShutdownHandle, Task, TaskError, TaskOptions, Worker, WorkerError,
};
use tokio::task::JoinHandle;

pub const DEADLINE: Duration = Duration::from_secs(60);

type Prepare = dyn Fn(&Task, Vec<Value>, Map) -> Result<Run, ArgumentError> + Send + Sync;

pub struct Closure {
    name: &'static str,
    options: TaskOptions,
    prepare: Box<Prepare>,
}

impl NativeTask for Closure {
    fn name(&self) -> &str {
        self.name
    }

    fn options(&self) -> TaskOptions {
        self.options.clone()
    }

    fn prepare(&self, task: &Task, args: Vec<Value>, kwargs: Map) -> Result<Run, ArgumentError> {
        (self.prepare)(task, args, kwargs)
    }
}

/// An async task.
pub fn task<F, O>(name: &'static str, options: TaskOptions, code: F) -> Closure
where
    F: Fn(Task, Vec<Value>) -> O + Send + Sync + 'static,
    O: Future<Output = Result<Value, TaskError>> + Send + 'static,
{
    let prepare = move |task: &Task, args, _| Ok(Run::Async(Box::pin(code(task.clone(), args))));
    Closure { name, options, prepare: Box::new(prepare) }
}

/// A task that is prepared by hand.
pub fn prepared(
    name: &'static str,
    prepare: impl Fn(&Task, Vec<Value>) -> Result<Run, ArgumentError> + Send + Sync + 'static,
) -> Closure {
    Closure {
        name,
        options: TaskOptions::default(),
        prepare: Box::new(move |task, args, _| prepare(task, args)),
    }
}

/// Returns its first argument.
pub fn echo() -> Closure {
    task(
        "echo",
        TaskOptions::default(),
        |_, args| async move { Ok(args.into_iter().next().unwrap_or_default()) },
    )
}

pub struct Rig {
    pub transport: MemoryTransport,
    pub store: Arc<MemoryStore>,
    pub producer: Arc<Producer>,
    pub settings: Settings,
    registry: Registry,
}

pub struct Running {
    pub handle: ShutdownHandle,
    pub counters: Arc<Counters>,
    worker: JoinHandle<Result<(), WorkerError>>,
}

fn producer(transport: Arc<dyn Transport>, queues: &Queues) -> Arc<Producer> {
    let settings = ProducerSettings {
        queues: queues.clone(),
        serializer: Serializer::Json,
        compression: None,
        origin: "gen1@test".to_owned(),
        max_retries: 3,
        priority: None,
        sent_events: None,
    };
    Arc::new(Producer::new(Arc::new(Line::new(transport)), settings))
}

impl Rig {
    /// Task queue `celery`, whose rejected messages go to `dead`.
    pub fn new() -> Self {
        let transport = MemoryTransport::new();
        let queue = Queue {
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some("dead".to_owned()),
            ..Queue::new("celery")
        };
        let queues = Queues { known: vec![queue.into()], ..Queues::default() };
        Rig {
            producer: producer(Arc::new(transport.clone()), &queues),
            store: Arc::new(MemoryStore::new(ResultSettings::default())),
            settings: Settings { concurrency: 2, queues, ..Settings::default() },
            transport,
            registry: Registry::default(),
        }
    }

    pub fn with(mut self, task: impl NativeTask) -> Self {
        self.registry.add(task);
        self
    }

    /// With another way to the broker for all that is sent.
    pub fn sending_by(mut self, transport: Arc<dyn Transport>) -> Self {
        self.producer = producer(transport, &self.settings.queues);
        self
    }

    pub fn start(&self) -> Running {
        self.start_on(Arc::new(self.transport.clone()))
    }

    pub fn start_on(&self, transport: Arc<dyn Transport>) -> Running {
        self.start_as(transport, |worker| worker)
    }

    /// With what a program adds to its worker.
    pub fn start_as(&self, transport: Arc<dyn Transport>, add: impl FnOnce(Worker) -> Worker) -> Running {
        self.run(transport, self.store.clone(), add)
    }

    /// With another result store.
    pub fn start_storing(&self, store: Arc<dyn ResultStore>) -> Running {
        self.run(Arc::new(self.transport.clone()), store, |worker| worker)
    }

    fn run(
        &self,
        transport: Arc<dyn Transport>,
        store: Arc<dyn ResultStore>,
        add: impl FnOnce(Worker) -> Worker,
    ) -> Running {
        let worker = add(Worker::new(
            transport,
            store,
            self.producer.clone(),
            self.registry.clone(),
            self.settings.clone(),
        ));
        let (handle, counters) = (worker.shutdown_handle(), worker.counters());
        Running { handle, counters, worker: tokio::spawn(worker.run()) }
    }

    pub async fn connection(&self) -> Arc<dyn Connection> {
        let connection = self.transport.connect().await.unwrap();
        let mut topology = self.settings.queues.queue(None).topology();
        topology.queues.push(Queue::new("dead"));
        connection.declare(&topology).await.unwrap();
        connection
    }

    pub async fn send(&self, id: &str, call: Call) {
        // So that `dead` exists from the first message on.
        self.connection().await.close().await;
        self.producer.send(id.to_owned(), call).await.unwrap();
    }

    pub async fn publish(&self, message: Message) {
        self.connection().await.publish(&Address::queue("celery"), message).await.unwrap();
    }

    /// Waits for the task's end.
    pub async fn result(&self, id: &str) -> TaskMeta {
        tokio::time::timeout(DEADLINE, self.store.wait(id)).await.expect("a result").unwrap()
    }

    pub async fn len(&self, queue: &str) -> u64 {
        self.connection().await.queue_len(queue).await.unwrap()
    }

    pub async fn wait_for_len(&self, queue: &str, expected: u64) {
        let connection = self.connection().await;
        eventually(queue, || async {
            (connection.queue_len(queue).await.unwrap() == expected).then_some(())
        })
        .await;
    }
}

impl Running {
    pub async fn end(self, shutdown: Shutdown) -> Result<(), WorkerError> {
        self.handle.request(shutdown);
        self.ended().await
    }

    pub async fn ended(self) -> Result<(), WorkerError> {
        tokio::time::timeout(DEADLINE, self.worker).await.expect("the worker to end").unwrap()
    }
}

/// Looks again and again, with a deadline.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let look = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub fn failure(meta: &TaskMeta) -> (String, String) {
    assert_eq!(meta.state, State::Failure, "{meta:?}");
    let exception = meta.exception().unwrap();
    (exception.kind.clone(), exception.text())
}

pub fn ints(values: &[i64]) -> Vec<Value> {
    values.iter().copied().map(Value::Int).collect()
}
