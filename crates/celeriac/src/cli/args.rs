//! The command line, with Celery 5.6's names (`celery/bin/celery.py`, `worker.py`, `call.py`, `purge.py`, ...).

use std::path::PathBuf;

use celeriac_protocol::Map;
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use super::level::Level;
use super::values;
use crate::{Expires, GossipMode};

const ENVIRONMENT: &str = "\
Environment:
  CELERY_BROKER_URL      the broker, unless -b names one
  CELERY_RESULT_BACKEND  the result backend, unless --result-backend names one
  CELERY_WORKER_REVOKES_MAX, CELERY_WORKER_REVOKE_EXPIRES
                         how many revokes a worker remembers, and for how many seconds
  AUTOSCALE_KEEPALIVE    for how many seconds a worker that has grown stays so, 30 by default
  CELERIAC_<SETTING>     any setting, for example CELERIAC_WORKER_CONCURRENCY=4; those of celeriac's own
                         have the prefix once: CELERIAC_GOSSIP=classic
  NO_COLOR               no colours, as -C";

/// What the program is asked to do.
#[derive(Debug, Parser)]
#[command(args_override_self = true, subcommand_required = true, arg_required_else_help = true)]
#[command(version, after_help = ENVIRONMENT)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that stand before the sub-command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global Options")]
pub(super) struct Global {
    /// Accepted for Celery's sake: this program is its own app.
    #[arg(short = 'A', long, hide = true)]
    app: Option<String>,
    /// The broker's URL.
    #[arg(short, long, value_name = "URL")]
    pub broker: Option<String>,
    /// The result backend's URL.
    #[arg(long, value_name = "URL")]
    pub result_backend: Option<String>,
    /// Change to this folder first.
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<PathBuf>,
    /// No colours.
    #[arg(short = 'C', long)]
    pub no_color: bool,
    /// No banner, and only what was asked for.
    #[arg(short, long)]
    pub quiet: bool,
    /// Django's, Python's.
    #[arg(long, hide = true)]
    skip_checks: bool,
    #[arg(long, hide = true)]
    loader: Option<String>,
    #[arg(long, hide = true)]
    config: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a worker.
    Worker(Box<Worker>),
    /// Call a task by name and print its id.
    Call(Box<Call>),
    /// Wait for a task and print what it returned.
    Result(TaskResult),
    /// Erase all messages from all known task queues. There is no undo.
    Purge(Purge),
    /// Get information from the broker.
    List {
        #[command(subcommand)]
        what: List,
    },
    /// Show the workers that are online.
    Status(Status),
    /// Ask the workers what they know.
    Inspect(Remote),
    /// Tell the workers what to do.
    Control(Remote),
    /// Show events as they happen.
    Events(Events),
    /// Draw what a worker is made of, for `dot`.
    Graph {
        #[command(subcommand)]
        what: Graph,
    },
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Worker {
    #[command(flatten)]
    pub node: Node,
    #[command(flatten)]
    pub pool: Pool,
    #[command(flatten)]
    pub queue: QueueOptions,
    #[command(flatten)]
    pub features: Features,
    #[command(flatten)]
    pub daemon: Daemon,
    /// Settings by name, for example worker_prefetch_multiplier=1.
    #[arg(value_name = "SETTING=VALUE")]
    pub settings: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Worker Options")]
pub(super) struct Node {
    /// The worker's name, for example w1@%h. Expands: %h (host), %n (name), %d (domain).
    #[arg(short = 'n', long, default_value = "celery@%h", value_parser = values::node_name)]
    pub hostname: String,
    /// Start in the background.
    #[arg(short = 'D', long, hide = true)]
    pub detach: bool,
    /// Keep revokes, clock and counters in this file. Expands as --hostname.
    #[arg(short = 'S', long, value_name = "FILE")]
    pub statedb: Option<String>,
    /// DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL.
    #[arg(short, long, default_value = "WARNING", value_name = "LEVEL", value_parser = Level::parse)]
    pub loglevel: Level,
    #[arg(short = 'O', long, hide = true, value_parser = ["default", "fair"])]
    optimization: Option<String>,
    /// Deliveries held for each running task.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub prefetch_multiplier: Option<u16>,
    /// Take a message only when a task can run at once (Redis).
    #[arg(long)]
    pub disable_prefetch: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Pool Options")]
pub(super) struct Pool {
    /// How many tasks run at once; the number of CPUs by default.
    #[arg(short, long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub concurrency: Option<usize>,
    /// Accepted: native tasks have one pool.
    #[arg(short = 'P', long, value_parser = values::POOLS)]
    pub pool: Option<String>,
    /// Send events of tasks.
    #[arg(short = 'E', long, visible_alias = "events")]
    pub task_events: bool,
    /// Seconds after which a task is ended.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = values::seconds)]
    pub time_limit: Option<std::time::Duration>,
    /// Seconds after which a task is told to end.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = values::seconds)]
    pub soft_time_limit: Option<std::time::Duration>,
    #[arg(long, hide = true)]
    pub max_tasks_per_child: Option<u64>,
    #[arg(long, hide = true)]
    pub max_memory_per_child: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Queue Options")]
pub(super) struct QueueOptions {
    /// Erase all waiting messages before the start.
    #[arg(long, visible_alias = "discard")]
    pub purge: bool,
    /// The queues to consume, with commas.
    #[arg(short = 'Q', long, value_name = "QUEUES", value_parser = values::list)]
    pub queues: Option<values::List>,
    /// Queues not to consume, with commas.
    #[arg(short = 'X', long, value_name = "QUEUES", value_parser = values::list)]
    pub exclude_queues: Option<values::List>,
    #[arg(short = 'I', long, hide = true)]
    pub include: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Features")]
pub(super) struct Features {
    /// Do not listen to other workers.
    #[arg(long)]
    pub without_gossip: bool,
    /// How to listen to other workers: by a few that watch for all (`watch`, the default), each for itself as Celery's
    /// do (`classic`), or as `watch` from a stream queue of RabbitMQ (`stream`).
    #[arg(long, value_name = "MODE", value_parser = values::gossip())]
    pub gossip: Option<GossipMode>,
    /// Do not ask the other workers for clocks and revokes at the start.
    #[arg(long)]
    pub without_mingle: bool,
    /// Send no heartbeats.
    #[arg(long)]
    pub without_heartbeat: bool,
    /// Seconds between heartbeats, 2 by default.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = values::seconds)]
    pub heartbeat_interval: Option<std::time::Duration>,
    /// How many tasks run at once at most and at least: as many as there are to do.
    #[arg(long, value_name = "MAX,MIN", value_parser = values::autoscale)]
    pub autoscale: Option<values::Autoscale>,
    #[arg(short = 'B', long, hide = true)]
    pub beat: bool,
    #[arg(short, long, visible_alias = "schedule-filename", hide = true)]
    schedule: Option<String>,
    #[arg(long, hide = true)]
    scheduler: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Daemonization Options")]
pub(super) struct Daemon {
    /// Log to this file instead of standard error. Expands as --hostname.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub logfile: Option<String>,
    /// Keep the process id in this file, and do not start (exit code 73) where it names a live process.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<String>,
    #[arg(long, hide = true)]
    pub uid: Option<String>,
    #[arg(long, hide = true)]
    pub gid: Option<String>,
    /// The umask of new files, octal when it starts with 0.
    #[arg(long, value_parser = values::umask)]
    pub umask: Option<u32>,
    #[arg(long, hide = true)]
    executable: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Call {
    /// The task's name.
    pub name: String,
    /// Positional arguments, a JSON array.
    #[arg(short, long, default_value = "[]", value_name = "JSON", value_parser = values::json_array, help_heading = "Calling Options")]
    pub args: values::Array,
    /// Keyword arguments, a JSON object.
    #[arg(short, long, default_value = "{}", value_name = "JSON", value_parser = values::json_object, help_heading = "Calling Options")]
    pub kwargs: Map,
    /// When to run it, in ISO 8601.
    #[arg(long, value_name = "TIME", value_parser = values::time, help_heading = "Calling Options")]
    pub eta: Option<DateTime<Utc>>,
    /// Seconds from now when to run it.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = values::seconds, help_heading = "Calling Options")]
    pub countdown: Option<std::time::Duration>,
    /// When not to run it any more, in ISO 8601 or seconds from now.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = values::expires, help_heading = "Calling Options")]
    pub expires: Option<Expires>,
    /// The serializer.
    #[arg(long, default_value = "json", value_name = "NAME", help_heading = "Calling Options")]
    pub serializer: String,
    /// The queue.
    #[arg(long, help_heading = "Routing Options")]
    pub queue: Option<String>,
    /// The exchange, with --routing-key.
    #[arg(long, help_heading = "Routing Options")]
    pub exchange: Option<String>,
    /// The routing key.
    #[arg(long, value_name = "KEY", help_heading = "Routing Options")]
    pub routing_key: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct TaskResult {
    /// The task's id.
    pub id: String,
    /// The task's name, accepted for Celery's sake.
    #[arg(short, long, hide = true)]
    task: Option<String>,
    /// Show the traceback instead.
    #[arg(long)]
    pub traceback: bool,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Purge {
    /// Do not ask.
    #[arg(short, long)]
    pub force: bool,
    /// The queues to purge, with commas.
    #[arg(short = 'Q', long, value_name = "QUEUES", value_parser = values::list)]
    pub queues: Option<values::List>,
    /// Queues not to purge, with commas.
    #[arg(short = 'X', long, value_name = "QUEUES", value_parser = values::list)]
    pub exclude_queues: Option<values::List>,
}

#[derive(Debug, Subcommand)]
pub(super) enum List {
    /// Every binding that the broker has.
    Bindings,
}

#[derive(Debug, Subcommand)]
pub(super) enum Graph {
    /// The steps of a worker and what they require.
    Bootsteps,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Status {
    #[command(flatten)]
    pub asked: Asked,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Remote {
    /// One of those that --list shows.
    #[arg(required_unless_present = "list")]
    pub command: Option<String>,
    /// Its arguments.
    #[arg(value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
    /// List the commands.
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub asked: Asked,
}

/// Who is asked, and how the replies are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Remote Control Options")]
pub(super) struct Asked {
    /// Seconds to wait for another reply.
    #[arg(short, long, default_value = "1", value_name = "SECONDS", allow_negative_numbers = true, value_parser = values::seconds)]
    pub timeout: std::time::Duration,
    /// Names of the workers to ask, with commas.
    #[arg(short, long, value_name = "NAMES", value_parser = values::list)]
    pub destination: Option<values::List>,
    /// Print the replies as JSON.
    #[arg(short, long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct Events {
    /// Print each event in a line, instead of the full-screen view.
    #[arg(short, long)]
    pub dump: bool,
    #[arg(short, long, value_name = "CAMERA", hide = true)]
    pub camera: Option<String>,
    #[arg(long, hide = true)]
    detach: bool,
    #[arg(short = 'F', long, visible_alias = "freq", hide = true)]
    frequency: Option<f64>,
    #[arg(short = 'r', long, hide = true)]
    maxrate: Option<String>,
    #[arg(short, long, hide = true, value_parser = Level::parse)]
    loglevel: Option<Level>,
    #[arg(short = 'f', long, hide = true)]
    logfile: Option<String>,
    #[arg(long, hide = true)]
    pidfile: Option<String>,
    #[arg(long, hide = true)]
    uid: Option<String>,
    #[arg(long, hide = true)]
    gid: Option<String>,
    #[arg(long, hide = true)]
    umask: Option<String>,
    #[arg(long, hide = true)]
    executable: Option<String>,
}
