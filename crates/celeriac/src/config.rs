mod table;
mod told;

use std::time::Duration;

use celeriac_broker::{Queue, QueueKind};
use celeriac_worker::GossipMode;

/// The settings, with Celery's names and defaults (`celery/app/defaults.py`). Celery's seconds are `Duration`s
/// here.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The broker; [`connect`](crate::connect) lists what can be served.
    pub broker_url: String,
    /// Whether a worker that finds no broker at its start tries again.
    pub broker_connection_retry_on_startup: bool,
    /// How often a worker tries again; `None` is for ever.
    pub broker_connection_max_retries: Option<u32>,

    /// The result store; empty for none.
    pub result_backend: String,
    /// How long results are kept; `None` is for ever.
    pub result_expires: Option<Duration>,
    /// How results are encoded.
    pub result_serializer: String,
    /// Which encodings of results are read; `None` is `accept_content`.
    pub result_accept_content: Option<Vec<String>>,
    /// Whether name, arguments, worker, queue and retries are stored with a result.
    pub result_extended: bool,
    /// Whether the replies of `rpc://` survive the broker.
    pub result_persistent: bool,
    /// `global_keyprefix` in `result_backend_transport_options`: what goes before every key in Redis.
    pub result_global_keyprefix: Option<String>,
    /// `result_chord_ordered` there: whether the body of a chord gets its results in the order of the header. All
    /// workers on one Redis must agree.
    pub result_chord_ordered: bool,
    /// How long the last part of a chord waits for results that others have not stored.
    pub result_chord_join_timeout: Duration,
    /// Whether who reads results waits for a store that cannot be reached; workers always do, with what they store.
    pub result_backend_always_retry: bool,
    /// How often it is asked, then; `None` is without end.
    pub result_backend_max_retries: Option<u32>,
    /// The first pause between two times, in milliseconds; it doubles.
    pub result_backend_base_sleep_between_retries_ms: u32,
    /// The longest pause, in milliseconds.
    pub result_backend_max_sleep_between_retries_ms: u32,

    /// Which encodings of calls are read, by name or content type.
    pub accept_content: Vec<String>,

    /// How calls are encoded.
    pub task_serializer: String,
    /// How calls are compressed.
    pub task_compression: Option<String>,
    /// The queue of calls that name none.
    pub task_default_queue: String,
    /// The kind of the default queue.
    pub task_default_queue_type: QueueKind,
    /// The kind of queues that are named and not in `task_queues`.
    pub task_create_missing_queue_type: QueueKind,
    /// The queues that are known; empty for the default queue alone.
    pub task_queues: Vec<Queue>,
    /// The highest priority that queues keep apart.
    pub task_queue_max_priority: Option<u8>,
    /// The priority of calls that name none.
    pub task_default_priority: Option<u8>,
    /// Acknowledge after the run, not before.
    pub task_acks_late: bool,
    /// With `task_acks_late`, acknowledge also what failed or timed out.
    pub task_acks_on_failure_or_timeout: bool,
    /// Store no results.
    pub task_ignore_result: bool,
    /// Store failures even when results are ignored.
    pub task_store_errors_even_if_ignored: bool,
    /// Store the state `STARTED`.
    pub task_track_started: bool,
    /// Tasks are ended after this long.
    pub task_time_limit: Option<Duration>,
    /// Tasks are told after this long.
    pub task_soft_time_limit: Option<Duration>,
    /// How often a task that says nothing else may start on one worker, for example `10/m`.
    pub task_default_rate_limit: Option<String>,
    /// Whether a call that cannot be sent is tried again.
    pub task_publish_retry: bool,
    /// How often, then.
    pub task_publish_retry_policy: PublishRetryPolicy,

    /// How many tasks run at once; `None` is the number of CPUs.
    pub worker_concurrency: Option<usize>,
    /// Messages held for each of them; 0 is no limit.
    pub worker_prefetch_multiplier: u16,
    /// Take a message only when a task can run at once; for Redis.
    pub worker_disable_prefetch: bool,
    /// How long running tasks may go on before a cold shutdown cancels them.
    pub worker_soft_shutdown_timeout: Duration,
    /// How many tasks wait in a worker for their time; `None` is our own bound.
    pub worker_eta_task_limit: Option<usize>,
    /// Cancel tasks with late acknowledgement when the broker is lost, since it will deliver them again.
    pub worker_cancel_long_running_tasks_on_connection_loss: bool,
    /// Whether workers answer remote control commands.
    pub worker_enable_remote_control: bool,
    /// Whether workers send events of tasks (`-E`).
    pub worker_send_task_events: bool,
    /// Whether workers ignore rate limits.
    pub worker_disable_rate_limits: bool,
    /// Whether remote control may restart the pools.
    pub worker_pool_restarts: bool,
    /// Whether whoever sends a call sends an event of it, `task-sent`.
    pub task_send_sent_event: bool,

    /// How workers hear of each other (`--gossip`): celeriac's own, as the next two.
    pub celeriac_gossip: GossipMode,
    /// How many workers listen to the heartbeats of all, 1 to 16.
    pub celeriac_gossip_watchers: usize,
    /// Time between two words of the one that leads, between 0.5 s and a minute.
    pub celeriac_gossip_beat: Duration,

    /// The namespace of remote control: its exchange is `celery.pidbox`.
    pub control_exchange: String,
    /// How long requests and replies wait in their queues.
    pub control_queue_ttl: Duration,
    /// How long these queues may be unused before they go.
    pub control_queue_expires: Duration,
    /// Whether only the connection that declares them may use them.
    pub control_queue_exclusive: bool,
    /// Whether they outlive the broker.
    pub control_queue_durable: bool,

    /// The exchange of events.
    pub event_exchange: String,
    /// What the names of their queues start with.
    pub event_queue_prefix: String,
    /// How long events wait in a queue.
    pub event_queue_ttl: Duration,
    /// How long these queues may be unused before they go.
    pub event_queue_expires: Duration,
    /// Whether only the connection that declares them may use them.
    pub event_queue_exclusive: bool,
    /// Whether they outlive the broker.
    pub event_queue_durable: bool,
    /// How events are encoded.
    pub event_serializer: String,
}

/// `task_publish_retry_policy`.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishRetryPolicy {
    /// How often it is tried again.
    pub max_retries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            broker_url: "amqp://guest@localhost//".to_owned(),
            broker_connection_retry_on_startup: true,
            broker_connection_max_retries: Some(100),
            result_backend: String::new(),
            result_expires: Some(Duration::from_secs(24 * 60 * 60)),
            result_serializer: "json".to_owned(),
            result_accept_content: None,
            result_extended: false,
            result_persistent: false,
            result_global_keyprefix: None,
            result_chord_ordered: true,
            result_chord_join_timeout: Duration::from_secs(3),
            result_backend_always_retry: false,
            result_backend_max_retries: None,
            result_backend_base_sleep_between_retries_ms: 10,
            result_backend_max_sleep_between_retries_ms: 10_000,
            accept_content: vec!["json".to_owned()],
            task_serializer: "json".to_owned(),
            task_compression: None,
            task_default_queue: "celery".to_owned(),
            task_default_queue_type: QueueKind::Classic,
            task_create_missing_queue_type: QueueKind::Classic,
            task_queues: Vec::new(),
            task_queue_max_priority: None,
            task_default_priority: None,
            task_acks_late: false,
            task_acks_on_failure_or_timeout: true,
            task_ignore_result: false,
            task_store_errors_even_if_ignored: false,
            task_track_started: false,
            task_time_limit: None,
            task_soft_time_limit: None,
            task_default_rate_limit: None,
            task_publish_retry: true,
            task_publish_retry_policy: PublishRetryPolicy { max_retries: 3 },
            worker_concurrency: None,
            worker_prefetch_multiplier: 4,
            worker_disable_prefetch: false,
            worker_soft_shutdown_timeout: Duration::ZERO,
            worker_eta_task_limit: None,
            worker_cancel_long_running_tasks_on_connection_loss: false,
            worker_enable_remote_control: true,
            worker_send_task_events: false,
            worker_disable_rate_limits: false,
            worker_pool_restarts: false,
            task_send_sent_event: false,
            celeriac_gossip: GossipMode::Watch,
            celeriac_gossip_watchers: 2,
            celeriac_gossip_beat: Duration::from_secs(5),
            control_exchange: "celery".to_owned(),
            control_queue_ttl: Duration::from_secs(300),
            control_queue_expires: Duration::from_secs(10),
            control_queue_exclusive: false,
            control_queue_durable: false,
            event_exchange: "celeryev".to_owned(),
            event_queue_prefix: "celeryev".to_owned(),
            event_queue_ttl: Duration::from_secs(5),
            event_queue_expires: Duration::from_secs(60),
            event_queue_exclusive: false,
            event_queue_durable: false,
            event_serializer: "json".to_owned(),
        }
    }
}
