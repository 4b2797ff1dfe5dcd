//! What Python found when the app had started (`ready` in `docs/host.md`), as types; and from it what the worker is
//! told.

mod broker;
mod fields;
mod limits;
mod queues;
mod settings;
pub mod table;
mod tasks;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use celeriac_protocol::codec::Accept;
use celeriac_protocol::{Map, Value};
use celeriac_worker::{Registry, TaskOptions, TaskQueue};

pub use broker::Broker;
pub use limits::Floats;
pub use settings::Features;

use fields::Fields;

/// What the app is, after all of its signals. It has passwords in it, so there is no `Debug`.
#[derive(Clone)]
pub struct Report {
    conf: Map,
    changed: HashSet<String>,
    /// What was resolved from command line, settings and signals.
    pub worker: Facts,
    /// The app's tasks, by name.
    pub tasks: HashMap<String, TaskOptions>,
    /// Whose time limits are floats.
    pub floats: Floats,
    /// The queues to consume.
    pub consume: Vec<TaskQueue>,
    /// The queues that the app knows.
    pub known: Vec<TaskQueue>,
    /// The broker that tasks come from.
    pub read: Broker,
    /// The broker that everything is sent to.
    pub write: Broker,
    /// The signals that somebody listens to.
    pub signals: HashSet<String>,
    /// The app's own commands of remote control, by name.
    pub controls: HashMap<String, Command>,
    /// What the app has that does not run here, a line each.
    pub unsupported: Vec<String>,
    /// `python`, `celery`, `kombu`, `billiard`.
    pub versions: HashMap<String, String>,
    /// What Celery prints at its start, without colours; empty when it is to be quiet.
    pub banner: String,
}

/// The options of a worker as Celery resolved them.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The app's name.
    pub app: String,
    /// The worker's full name.
    pub hostname: String,
    /// The pool.
    pub pool: String,
    /// How many tasks run at once.
    pub concurrency: usize,
    /// In how many processes.
    pub processes: usize,
    /// How many at once in each.
    pub jobs: usize,
    /// The most and the fewest, with `--autoscale`.
    pub autoscale: Option<(usize, usize)>,
    /// A process ends after this many tasks.
    pub max_tasks_per_child: Option<u64>,
    /// A process ends when it has more memory than this, in KiB.
    pub max_memory_per_child: Option<u64>,
    /// Deliveries held for each of them; 0 is no limit.
    pub prefetch_multiplier: u16,
    /// Whether nobody has set that.
    pub prefetch_is_open: bool,
    /// Which content types are read.
    pub accept: Accept,
    /// Whether JSON is read by kombu, so that others may read it as kombu does.
    pub json_is_kombus: bool,
    /// Tasks without a limit of their own are ended after this long.
    pub time_limit: Option<Duration>,
    /// They are told after this long.
    pub soft_time_limit: Option<Duration>,
    /// Whether events of tasks are sent.
    pub task_events: bool,
    /// Whether rate limits are ignored.
    pub disable_rate_limits: bool,
    /// Whether remote control may restart the pool.
    pub pool_restarts: bool,
    /// Python's number of the log level.
    pub loglevel: i64,
    /// The log file, with `%` letters.
    pub logfile: Option<String>,
    /// The statedb, with `%` letters.
    pub statedb: Option<String>,
    /// The ids that a worker of Celery's has left revoked there.
    pub revoked: Vec<String>,
    /// Python's number of the lowest level that the app's own logging takes of the worker's lines; none where it has none
    /// of its own.
    pub log_through_app: Option<i64>,
    /// The pidfile, with `%` letters.
    pub pidfile: Option<String>,
    /// As whom the app's process runs.
    pub identity: Identity,
}

/// A user, as the system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// What new files may not be used for.
    pub umask: u32,
}

/// A command of remote control that is the app's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Another name of it.
    pub alias: Option<String>,
    /// Whether it only asks (`inspect`).
    pub inspects: bool,
    /// The names of its arguments, in order.
    pub arguments: Vec<String>,
}

/// A report that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ReportError {
    /// The setting, or the part of the report.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Report {
    /// Reads what the zygote said.
    ///
    /// # Errors
    /// When a setting of the app means nothing to a worker.
    pub fn read(value: &Value) -> Result<Self, ReportError> {
        let report = Fields::of("report", value)?;
        let worker = report.part("worker")?;
        let (queues, connection) = (report.part("queues")?, report.part("connection")?);
        let conf = report.part("conf")?;
        let tasks = report.part("tasks")?;
        let controls = report.part("controls")?;
        Ok(Report {
            changed: report.texts("changed").into_iter().collect(),
            worker: Facts::read(&worker)?,
            tasks: tasks
                .parts()
                .map(|(name, task)| Ok((name, tasks::options(&task?)?)))
                .collect::<Result<_, _>>()?,
            floats: Floats::read(&tasks, &worker)?,
            consume: queues::read(&queues, "consume")?,
            known: queues::read(&queues, "known")?,
            read: Broker::read(&connection.part("read")?, &conf)?,
            write: Broker::read(&connection.part("write")?, &conf)?,
            signals: report.texts("signals").into_iter().collect(),
            controls: controls
                .parts()
                .map(|(name, one)| Ok((name, Command::read(&one?))))
                .collect::<Result<_, _>>()?,
            unsupported: report.texts("unsupported"),
            versions: report.part("versions")?.into_texts(),
            banner: report.text("banner").unwrap_or_default(),
            conf: conf.into_map(),
        })
    }

    /// The tasks, for a worker whose executor is Python's.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        for (name, options) in &self.tasks {
            registry.declare(name, options.clone());
        }
        registry
    }

    /// Whether the app's Celery is 5.7 or newer.
    pub fn is_celery_5_7(&self) -> bool {
        let version = self.versions.get("celery").map(String::as_str).unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(5), Some(7))
    }

    /// A setting that is a time.
    ///
    /// # Errors
    /// When it is none.
    pub fn seconds(&self, setting: &str) -> Result<Option<Duration>, ReportError> {
        Fields::new("conf", &self.conf).seconds(setting)
    }

    /// A setting that is true, false or neither.
    pub fn flag(&self, setting: &str) -> Option<bool> {
        self.conf.get(setting).and_then(Value::as_bool)
    }

    /// A setting that is text: `worker_log_format`.
    pub fn text(&self, setting: &str) -> Option<&str> {
        self.conf.get(setting).and_then(Value::as_str)
    }
}

impl Facts {
    fn read(facts: &Fields<'_>) -> Result<Self, ReportError> {
        let autoscale =
            facts.list("autoscale").iter().map(|bound| fields::count(bound.as_i64())).collect::<Vec<_>>();
        Ok(Facts {
            app: facts.text("app").unwrap_or_default(),
            hostname: facts.text("hostname").ok_or_else(|| facts.wrong("hostname", "there is none"))?,
            pool: facts.text("pool").unwrap_or_default(),
            concurrency: facts.number("concurrency")?.unwrap_or(1),
            processes: facts.number("processes")?.unwrap_or(1),
            jobs: facts.number("jobs")?.unwrap_or(1),
            autoscale: match autoscale[..] {
                [Some(most), Some(fewest)] => Some((most, fewest)),
                _ => None,
            },
            max_tasks_per_child: facts.number("max_tasks_per_child")?.filter(|limit| *limit > 0),
            max_memory_per_child: facts.number("max_memory_per_child")?.filter(|limit| *limit > 0),
            prefetch_multiplier: facts.number("prefetch_multiplier")?.unwrap_or_default(),
            prefetch_is_open: facts.truth("prefetch_is_open"),
            accept: Accept::new(facts.texts("accept")).map_err(|error| facts.wrong("accept", error))?,
            json_is_kombus: facts.truth("json_is_kombus"),
            time_limit: tasks::limit(facts, "time_limit")?,
            soft_time_limit: tasks::limit(facts, "soft_time_limit")?,
            task_events: facts.truth("task_events"),
            disable_rate_limits: facts.truth("disable_rate_limits"),
            pool_restarts: facts.truth("pool_restarts"),
            loglevel: facts.number("loglevel")?.unwrap_or_default(),
            logfile: facts.text("logfile"),
            statedb: facts.text("statedb"),
            revoked: facts.texts("revoked"),
            log_through_app: facts.number("log_through_app")?,
            pidfile: facts.text("pidfile"),
            identity: Identity::read(&facts.part("identity")?)?,
        })
    }
}

impl Identity {
    fn read(identity: &Fields<'_>) -> Result<Self, ReportError> {
        let number = |name| identity.number(name)?.ok_or_else(|| identity.wrong(name, "there is none"));
        let groups = identity.list("groups").iter().filter_map(|group| u32::try_from(group.as_i64()?).ok());
        Ok(Identity {
            uid: number("uid")?,
            gid: number("gid")?,
            groups: groups.collect(),
            umask: number("umask")?,
        })
    }
}

impl Command {
    fn read(command: &Fields<'_>) -> Self {
        Command {
            alias: command.text("alias"),
            inspects: command.text("type").is_some_and(|kind| kind == "inspect"),
            arguments: command.texts("args"),
        }
    }
}
