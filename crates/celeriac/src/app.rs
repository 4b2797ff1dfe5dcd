use std::fmt;
use std::sync::Arc;

use celeriac_broker::{Line, Transport};
use celeriac_protocol::{LamportClock, Signature, Value};
use celeriac_results::{ResultStore, Saved};
use celeriac_worker::{Call, NativeTask, Producer, Registry, SendError, Settings, Worker};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::control::Control;
use crate::events::Receiver;
use crate::group_result::GroupResult;
use crate::{AsyncResult, Config, ConfigError, ResultError, TaskCall, connect};

/// A program's tasks and settings: it sends calls and makes workers. Cheap to clone.
///
/// Nothing is connected before it is needed; clones share one connection that publishes.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    name: String,
    config: Config,
    registry: Registry,
    settings: Settings,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ResultStore>,
    producer: Arc<Producer>,
    fitting: Fitting,
}

/// What a program adds to each of its workers.
type Fitting = Arc<dyn Fn(Worker) -> Worker + Send + Sync>;

/// An app that is being put together; [`App::builder`] starts.
#[derive(Clone)]
#[must_use = "an app is there when `build()` is called"]
pub struct AppBuilder {
    name: String,
    config: Config,
    registry: Registry,
    fitting: Fitting,
}

impl AppBuilder {
    /// The broker's URL (`broker_url`), by default RabbitMQ on this machine.
    pub fn broker(self, url: impl Into<String>) -> Self {
        self.config(|config| config.broker_url = url.into())
    }

    /// The result store's URL (`result_backend`), by default none.
    pub fn result_backend(self, url: impl Into<String>) -> Self {
        self.config(|config| config.result_backend = url.into())
    }

    /// Adds a task that [`task`](crate::task) made, by its function's name: `.task(add)`. One of the same name is
    /// replaced.
    pub fn task<T: NativeTask>(mut self, task: impl FnOnce() -> T) -> Self {
        self.registry.add(task());
        self
    }

    /// Changes settings: `.config(|config| config.task_acks_late = true)`.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds to each worker of the app, also to that of the command line: steps, commands of remote control, what is
    /// called when other workers come and go. What an earlier call adds stays.
    ///
    /// ```no_run
    /// # let builder = celeriac::App::builder("hello");
    /// builder.worker(|worker| {
    ///     worker.on_node_lost(|member| eprintln!("{} is gone", member.hostname))
    /// })
    /// # ;
    /// ```
    pub fn worker(mut self, fit: impl Fn(Worker) -> Worker + Send + Sync + 'static) -> Self {
        let earlier = self.fitting;
        self.fitting = Arc::new(move |worker| fit(earlier(worker)));
        self
    }

    /// The app.
    ///
    /// # Errors
    /// When a setting means nothing, or broker or result store cannot be served; the error tells what can be.
    pub fn build(self) -> Result<App, ConfigError> {
        let AppBuilder { name, config, registry, fitting } = self;
        let mut settings = config.worker_settings()?;
        let transport = connect::transport(&config.broker_url)?;
        settings.events = settings.events.suited(transport.capabilities());
        // One connection publishes, whatever it is that is sent.
        let line = Arc::new(Line::new(transport.clone()));
        let store = connect::result_store(&config, &line)?;
        let producer = Arc::new(Producer::new(line, config.producer_settings()?));
        Ok(App(Arc::new(Inner { name, config, registry, settings, transport, store, producer, fitting })))
    }
}

impl App {
    /// Starts an app of this name, with Celery's defaults.
    pub fn builder(name: impl Into<String>) -> AppBuilder {
        AppBuilder {
            name: name.into(),
            config: Config::default(),
            registry: Registry::default(),
            fitting: Arc::new(|worker| worker),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Its tasks.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Its broker.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.0.transport
    }

    /// Its result store.
    pub fn result_store(&self) -> &Arc<dyn ResultStore> {
        &self.0.store
    }

    /// What sends its calls.
    pub fn producer(&self) -> &Arc<Producer> {
        &self.0.producer
    }

    /// What its workers are told, made from its settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The logical clock that its messages carry.
    pub fn clock(&self) -> &Arc<LamportClock> {
        self.0.producer.clock()
    }

    /// Remote control of the workers: `app.control().revoke(["some-id"]).await?`.
    pub fn control(&self) -> Control {
        Control::new(self.clone())
    }

    /// Who is in the cluster, by the worker that leads it: `app.cluster().members().await?`.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.clone())
    }

    /// What the workers and clients tell as it happens. Nothing is opened before the first
    /// [`next`](Receiver::next).
    pub fn events(&self) -> Receiver {
        Receiver::new(self.clone())
    }

    /// An app with the same tasks and other settings, and connections of its own.
    ///
    /// # Errors
    /// Those of [`AppBuilder::build`].
    pub fn with_config(&self, config: Config) -> Result<App, ConfigError> {
        let Inner { name, registry, fitting, .. } = &*self.0;
        let (name, registry, fitting) = (name.clone(), registry.clone(), fitting.clone());
        AppBuilder { name, config, registry, fitting }.build()
    }

    /// Sends a call; returns when the broker has taken it over.
    ///
    /// # Errors
    /// [`SendError`]; after [`SendError::Broker`] the call may or may not have been sent.
    pub async fn send<T>(&self, call: TaskCall<T>) -> Result<AsyncResult<T>, SendError> {
        let Inner { config, store, producer, .. } = &*self.0;
        let mut call = call.into_call()?;
        let options = &mut call.options;
        let id = options.task_id.take().unwrap_or_else(|| Uuid::new_v4().to_string());
        let ignored = *options.ignore_result.get_or_insert(config.task_ignore_result);
        if !ignored {
            store.expect(&id).await?;
            options.reply_to = options.reply_to.take().or_else(|| store.reply_to());
            let reply_to = options.reply_to.clone();
            let links = call.embed.callbacks.iter_mut().chain(&mut call.embed.errbacks);
            for link in links.chain(&mut call.embed.chain) {
                answer_to(link, reply_to.as_deref(), &**store).await?;
            }
        }
        producer.send(id.clone(), call).await?;
        Ok(AsyncResult::new(id, store.clone(), ignored))
    }

    /// Sends a call by name.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_task(&self, call: Call) -> Result<AsyncResult<Value>, SendError> {
        self.send(TaskCall::from(call)).await
    }

    /// The result of a call with this id, which may have been sent by another program.
    pub fn result<T>(&self, id: impl Into<String>) -> AsyncResult<T> {
        AsyncResult::new(id.into(), self.0.store.clone(), false)
    }

    /// The group of results that [`GroupResult::save`], or Python's, has kept under this id; groups in it are
    /// unrolled.
    ///
    /// # Errors
    /// When the store cannot be asked, or keeps no groups: only Redis does.
    pub async fn group_result<T>(&self, id: &str) -> Result<Option<GroupResult<T>>, ResultError> {
        let saved = self.0.store.restore_group(id).await?;
        let group = |saved| GroupResult::new(id, Saved::ids(&saved).into_iter().map(|id| self.result(id)));
        Ok(saved.map(group))
    }

    /// A worker for the app's tasks: `app.worker().run().await?`. It shares the app's connection that publishes and
    /// its result store, which stay open when it ends.
    pub fn worker(&self) -> Worker {
        self.worker_with(self.0.settings.clone())
    }

    /// A worker with other settings than the app's: another name, other queues.
    pub fn worker_with(&self, settings: Settings) -> Worker {
        let Inner { transport, store, producer, registry, fitting, .. } = &*self.0;
        let worker =
            Worker::new(transport.clone(), store.clone(), producer.clone(), registry.clone(), settings);
        fitting(worker)
    }

    /// Closes the connections; those who still wait for results get an error.
    pub async fn close(&self) {
        self.0.producer.line().close().await;
        self.0.store.close().await;
    }
}

/// Has a link answer its caller as the call itself does (`celery/canvas.py`, `Signature.freeze`).
async fn answer_to(
    link: &mut Signature,
    reply_to: Option<&str>,
    store: &dyn ResultStore,
) -> Result<(), SendError> {
    if let Some(queue) = reply_to.filter(|_| link.options.get("reply_to").is_none()) {
        link.options.insert("reply_to", queue);
    }
    if let Some(id) = link.options.get("task_id").and_then(Value::as_str) {
        store.expect(id).await?;
    }
    Ok(())
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("tasks", &self.registry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.0.name)
            .field("broker", &self.0.transport.display_url())
            .field("result_backend", &self.0.store.display_url())
            .field("tasks", &self.0.registry)
            .finish()
    }
}
