//! A worker whose tasks are Python's, with a broker in memory.

mod ends;
mod limits;
mod runs;
mod shared;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{
    Address, Connection, Event as Arrived, Inbox, Line, MemoryTransport, Prefetch, Queue, Session,
    Settlement, Subscription, Topology, Transport,
};
use celeriac_protocol::codec::{Accept, Serializer};
use celeriac_protocol::control::Request;
use celeriac_protocol::{Event, Map, Value};
use celeriac_python::host::{StartError, Started, Zygote, find_python};
use celeriac_python::pool::{Home, Kind, Pool, PoolSettings};
use celeriac_python::report::Floats;
use celeriac_results::DisabledStore;
use celeriac_testkit::{TempDir, eventually, workspace_root};
use celeriac_worker::{
    Call, Counters, EventSettings, Executor, Pidbox, Producer, ProducerSettings, Queues, Registry, Settings,
    Shutdown, ShutdownHandle, TaskOptions, Worker, WorkerError,
};
use tokio::task::JoinHandle;

/// No step takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker with Python children.
struct Rig {
    dir: Arc<TempDir>,
    producer: Arc<Producer>,
    counters: Arc<Counters>,
    executor: Arc<dyn Executor>,
    home: Arc<Home>,
    monitor: Monitor,
    handle: ShutdownHandle,
    worker: JoinHandle<Result<(), WorkerError>>,
    connection: Arc<dyn Connection>,
}

/// Hears all events.
struct Monitor {
    session: Arc<dyn Session>,
    inbox: Inbox,
    heard: VecDeque<Event>,
}

impl Rig {
    async fn start(concurrency: usize) -> Self {
        Rig::start_with(concurrency, |_| {}).await
    }

    async fn start_with(concurrency: usize, change: impl FnOnce(&mut Settings)) -> Self {
        Rig::start_as("prefork", concurrency, Vec::new(), change).await
    }

    /// With another pool, and further options of Python's.
    async fn start_as(
        pool: &'static str,
        concurrency: usize,
        options: Vec<(&'static str, Value)>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let (dir, transport) = (Arc::new(TempDir::new()), MemoryTransport::new());
        let options: Map = options.into_iter().chain([("pool", pool.into())]).collect();
        let (folder, again) = (dir.clone(), options.clone());
        let revive = move || {
            let (folder, options) = (folder.clone(), again.clone());
            Box::pin(async move { zygote(folder.path(), options).await }) as _
        };
        let Started { zygote, events, .. } = zygote(dir.path(), options).await.unwrap();
        let home = Home::new(zygote, Box::new(revive));
        let connection = transport.connect().await.unwrap();
        let monitor = Monitor::open(&*connection).await;
        let (worker, producer) = worker(&transport, concurrency, change).await;
        let (handle, counters) = (worker.shutdown_handle(), worker.counters());
        let settings = PoolSettings {
            kind: Kind::from_name(pool).unwrap(),
            proc_alive_timeout: PATIENCE,
            max_tasks_per_child: None,
            stocks: true,
            reads_json: true,
            floats: Floats::default(),
            spares_running: false,
        };
        let (told, executor) = tokio::sync::oneshot::channel();
        let started = home.clone();
        let worker = worker.executor(move |parts| {
            let hosted = Pool::start(started, events, settings, parts);
            let _ = told.send(hosted.executor.clone());
            hosted
        });
        let worker = tokio::spawn(worker.run());
        let executor = executor.await.unwrap();
        Rig { dir, producer, counters, executor, home, monitor, handle, worker, connection }
    }

    async fn send(&self, id: &str, task: &str, args: Vec<Value>) {
        self.call(id, Call::new(format!("app.{task}"), args)).await;
    }

    async fn call(&self, id: &str, call: Call) {
        self.producer.send(id.to_owned(), call).await.unwrap();
    }

    /// What is stored of a task, as JSON, when it says so.
    async fn stored(&self, id: &str, state: &str) -> String {
        let file = self.dir.path().join("results").join(format!("celery-task-meta-{id}"));
        let state = format!("\"status\": \"{state}\"");
        self.wait(&format!("{id} {state}"), || {
            std::fs::read_to_string(&file).ok().filter(|text| text.contains(&state))
        })
        .await
    }

    /// The process that runs the task `busy`.
    async fn busy(&self) -> i32 {
        self.note("busy").await.parse().unwrap()
    }

    /// What a task has written.
    async fn note(&self, name: &str) -> String {
        let file = self.dir.path().join(name);
        let read = || std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty());
        self.wait(&format!("the note {name}"), read).await
    }

    /// Lets a task go on that waits for it.
    fn release(&self, name: &str) {
        self.dir.write(name, "go");
    }

    /// Terminates tasks by remote control.
    async fn terminate(&self, ids: &[&str]) {
        let ids = Value::List(ids.iter().map(|id| (*id).into()).collect());
        self.control("revoke", &[("task_id", ids), ("terminate", true.into())]).await;
    }

    async fn wait<T: Send + 'static>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let look = async {
            loop {
                if let Some(found) = probe() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Asks for something by remote control, without an answer.
    async fn control(&self, method: &str, arguments: &[(&'static str, Value)]) {
        let arguments = arguments.iter().cloned().collect();
        let request = Request { method: method.to_owned(), arguments, ..Request::default() };
        let pidbox = Pidbox::default();
        let message = pidbox.request(request, PATIENCE).unwrap();
        let exchange = pidbox.requests().exchanges[0].name.clone();
        self.connection.publish(&Address::exchange(exchange, ""), message).await.unwrap();
    }

    /// How many messages wait.
    async fn len(&self, queue: &str) -> u64 {
        self.connection.queue_len(queue).await.unwrap()
    }

    async fn end(self, shutdown: Shutdown) {
        self.handle.request(shutdown);
        tokio::time::timeout(PATIENCE, self.worker).await.expect("the worker to end").unwrap().unwrap();
        self.home.stop().await;
    }
}

impl Monitor {
    async fn open(connection: &dyn Connection) -> Self {
        let mut topology = EventSettings::default().listener("monitor", "#");
        topology.queues[0].message_ttl = None;
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&topology.queues[0].name)).await.unwrap();
        Monitor { session, inbox, heard: VecDeque::new() }
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return event;
            }
            let arrived = tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("an event");
            let Some(Arrived::Delivery(delivery)) = arrived else { panic!("the session ended") };
            self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
            let body = delivery.message.decode(&Accept::default()).unwrap();
            self.heard.extend(Event::read_all(body).map(Result::unwrap));
        }
    }

    /// The fields of a task's first event of this kind.
    async fn event(&mut self, id: &str, kind: &str) -> Map {
        loop {
            let event = self.next().await;
            if event.kind == kind && event.fields.get("uuid").and_then(Value::as_str) == Some(id) {
                return event.fields;
            }
        }
    }
}

async fn worker(
    transport: &MemoryTransport,
    concurrency: usize,
    change: impl FnOnce(&mut Settings),
) -> (Worker, Arc<Producer>) {
    let queue = Queue {
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("dead".to_owned()),
        ..Queue::new("celery")
    };
    let queues = Queues { known: vec![queue.into()], ..Queues::default() };
    let connection = transport.connect().await.unwrap();
    let mut topology = Topology::default();
    topology.queues.push(Queue::new("dead"));
    connection.declare(&topology).await.unwrap();
    let producer = ProducerSettings {
        queues: queues.clone(),
        serializer: Serializer::Json,
        compression: None,
        origin: "gen1@test".to_owned(),
        max_retries: 3,
        priority: None,
        sent_events: None,
    };
    let producer = Arc::new(Producer::new(Arc::new(Line::new(Arc::new(transport.clone()))), producer));
    let mut settings = Settings {
        hostname: "test@here".to_owned(),
        concurrency,
        queues,
        task_events: true,
        gossip: false,
        mingle: false,
        heartbeat: false,
        ..Settings::default()
    };
    change(&mut settings);
    let mut registry = Registry::default();
    let names = [
        "add",
        "fail",
        "again",
        "busy",
        "soft",
        "careful",
        "careless",
        "poison",
        "carefully_busy",
        "about",
        "leave",
        "pid",
        "until",
        "meet",
        "converse",
        "doze",
        "heed",
    ];
    for name in names {
        let acks_late = Some(name.starts_with("care"));
        registry.declare(format!("app.{name}"), TaskOptions { acks_late, ..TaskOptions::default() });
    }
    let store = Arc::new(DisabledStore);
    (Worker::new(Arc::new(transport.clone()), store, producer.clone(), registry, settings), producer)
}

async fn zygote(dir: &Path, more: Map) -> Result<Started, StartError> {
    let own = std::env::var_os("CELERIAC_TEST_PYTHON");
    let own = own.map_or_else(|| workspace_root().join(".venv/bin/python"), PathBuf::from);
    let python = find_python(Some(&own)).unwrap();
    let argv = ["celery", "-A", "app", "worker"].map(Value::from).to_vec();
    let options = Map::from_iter([
        ("argv", Value::from(argv)),
        ("app", "app".into()),
        ("hostname", "test@here".into()),
        ("loglevel", "INFO".into()),
        ("workdir", dir.to_str().into()),
    ]);
    let options: Map = options.into_iter().chain(more).collect();
    let apps = workspace_root().join("crates/python/tests/pool");
    let variables = [
        ("PYTHONPATH", apps.to_str().unwrap()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("RESULTS", dir.to_str().unwrap()),
    ];
    tokio::time::timeout(PATIENCE, Zygote::start(&python, &Value::Map(options), &variables)).await.unwrap()
}

/// Whether a process is there.
fn lives(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits on another thread's work, for what has no signal.
fn gone(pid: i32) {
    eventually(PATIENCE, "the process to end", || (!lives(pid)).then_some(()));
}
