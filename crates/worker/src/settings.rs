//! The worker's settings: Celery's names, resolved once and passed on as plain data.

use std::path::PathBuf;
use std::time::Duration;

use celeriac_protocol::Map;
use celeriac_protocol::codec::Accept;
use celeriac_protocol::revoked;
use celeriac_results::Retry;

use crate::executor::Autoscale;
use crate::pidbox::{EventSettings, Pidbox};
use crate::queues::{Queues, TaskQueue};
use crate::task::Rate;

/// What a worker does, by the names of Celery's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The worker's name, `celery@host`.
    pub hostname: String,
    /// `worker_concurrency`: how many tasks run at once.
    pub concurrency: usize,
    /// Between which bounds the pool grows and shrinks, if it does; `concurrency` is then what it starts with.
    pub autoscale: Option<Autoscale>,
    /// `worker_prefetch_multiplier`: deliveries held for each running task; 0 is no limit.
    pub prefetch_multiplier: u16,
    /// `worker_disable_prefetch`: a message is only taken when a task can run at once; of brokers that can.
    pub disable_prefetch: bool,
    /// The queues that are known.
    pub queues: Queues,
    /// The queues to consume (`-Q`); empty for all that are known, or the default one.
    pub consume_from: Vec<String>,
    /// `accept_content`.
    pub accept: Accept,
    /// `task_acks_late`.
    pub task_acks_late: bool,
    /// `task_acks_on_failure_or_timeout`.
    pub task_acks_on_failure_or_timeout: bool,
    /// `task_ignore_result`.
    pub task_ignore_result: bool,
    /// `task_store_errors_even_if_ignored`.
    pub task_store_errors_even_if_ignored: bool,
    /// `task_track_started`.
    pub task_track_started: bool,
    /// `task_time_limit`.
    pub task_time_limit: Option<Duration>,
    /// `task_soft_time_limit`.
    pub task_soft_time_limit: Option<Duration>,
    /// `result_extended`.
    pub result_extended: bool,
    /// `result_chord_join_timeout`: how long a chord's last part waits for results that the others have not stored.
    pub result_chord_join_timeout: Duration,
    /// How often a result store is asked that cannot be reached.
    pub result_retry: Retry,
    /// `worker_soft_shutdown_timeout`: how long running tasks may go on before a cold shutdown cancels them.
    pub soft_shutdown_timeout: Duration,
    /// `broker_connection_retry_on_startup`.
    pub connection_retry_on_startup: bool,
    /// `broker_connection_max_retries`; `None` is for ever.
    pub connection_max_retries: Option<u32>,
    /// `worker_eta_task_limit`: how many tasks wait here for their time; what comes past it keeps a place of the
    /// prefetch window, so that the rest stays with the broker.
    pub eta_task_limit: usize,
    /// `worker_cancel_long_running_tasks_on_connection_loss`.
    pub cancel_on_connection_loss: bool,
    /// `worker_enable_remote_control`.
    pub enable_remote_control: bool,
    /// Whether the worker listens to the others (`--without-gossip` does not).
    pub gossip: bool,
    /// `celeriac_gossip`: in which way it does (`--gossip`).
    pub gossip_mode: GossipMode,
    /// `celeriac_gossip_watchers`: how many workers listen to all heartbeats, the lead included; 1 to 16.
    pub gossip_watchers: usize,
    /// `celeriac_gossip_beat`: time between two words of the lead, between 0.5 s and a minute.
    pub gossip_beat: Duration,
    /// Time between two looks for workers that are lost (`Gossip.interval`).
    pub gossip_interval: Duration,
    /// How long what other workers tell may wait for us (`Gossip.heartbeat_interval`).
    pub gossip_heartbeat_interval: Duration,
    /// Time between two lines in the log of what the cluster costs; none with zero.
    pub chatter_interval: Duration,
    /// Whether it asks its neighbours for clocks and revokes before it starts (`--without-mingle` does not).
    pub mingle: bool,
    /// Whether it sends heartbeats (`--without-heartbeat` does not).
    pub heartbeat: bool,
    /// Time between heartbeats (`--heartbeat-interval`).
    pub heartbeat_interval: Duration,
    /// `worker_send_task_events`.
    pub task_events: bool,
    /// `task_default_rate_limit`: of tasks that have none.
    pub task_default_rate_limit: Option<Rate>,
    /// `worker_disable_rate_limits`.
    pub disable_rate_limits: bool,
    /// `worker_pool_restarts`.
    pub pool_restarts: bool,
    /// How events travel.
    pub events: EventSettings,
    /// How remote control travels.
    pub control: Pidbox,
    /// Where revokes, clock and counters are kept over restarts (`--statedb`).
    pub statedb: Option<PathBuf>,
    /// How many revoked ids are remembered (`CELERY_WORKER_REVOKES_MAX` in the environment).
    pub revokes_max: usize,
    /// For how long they are (`CELERY_WORKER_REVOKE_EXPIRES` in the environment).
    pub revoke_expires: Duration,
    /// The settings that differ from their defaults, as remote control shows them.
    pub conf: Map,
    /// The settings that have their defaults.
    pub conf_defaults: Map,
}

/// How workers hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GossipMode {
    /// A few listen to the heartbeats of all and tell the rest what changed: the cost is linear.
    #[default]
    Watch,
    /// All listen to all, as Celery's do: the cost grows with the square of their number.
    Classic,
    /// As `Watch`, but the few read the heartbeats from one stream queue of RabbitMQ.
    Stream,
}

impl GossipMode {
    /// All of them.
    pub const ALL: [GossipMode; 3] = [GossipMode::Watch, GossipMode::Classic, GossipMode::Stream];

    /// Its word: `watch`, `classic`, `stream`.
    pub fn name(self) -> &'static str {
        match self {
            GossipMode::Watch => "watch",
            GossipMode::Classic => "classic",
            GossipMode::Stream => "stream",
        }
    }

    /// The mode of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        GossipMode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            hostname: "celery@localhost".to_owned(),
            concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            autoscale: None,
            prefetch_multiplier: 4,
            disable_prefetch: false,
            queues: Queues::default(),
            consume_from: Vec::new(),
            accept: Accept::default(),
            task_acks_late: false,
            task_acks_on_failure_or_timeout: true,
            task_ignore_result: false,
            task_store_errors_even_if_ignored: false,
            task_track_started: false,
            task_time_limit: None,
            task_soft_time_limit: None,
            result_extended: false,
            result_chord_join_timeout: Duration::from_secs(3),
            result_retry: Retry::default(),
            soft_shutdown_timeout: Duration::ZERO,
            connection_retry_on_startup: true,
            connection_max_retries: Some(100),
            eta_task_limit: 50_000,
            cancel_on_connection_loss: false,
            enable_remote_control: true,
            gossip: true,
            gossip_mode: GossipMode::Watch,
            gossip_watchers: 2,
            gossip_beat: Duration::from_secs(5),
            gossip_interval: Duration::from_secs(5),
            gossip_heartbeat_interval: Duration::from_secs(2),
            chatter_interval: Duration::from_secs(300),
            mingle: true,
            heartbeat: true,
            heartbeat_interval: Duration::from_secs(2),
            task_events: false,
            task_default_rate_limit: None,
            disable_rate_limits: false,
            pool_restarts: false,
            events: EventSettings::default(),
            control: Pidbox::default(),
            statedb: None,
            revokes_max: revoked::REVOKES_MAX,
            revoke_expires: Duration::from_secs_f64(revoked::REVOKE_EXPIRES),
            conf: Map::new(),
            conf_defaults: Map::new(),
        }
    }
}

impl Settings {
    /// How many deliveries may be unsettled while so many tasks run at once, before those that wait for their
    /// time; 0 is no limit.
    pub(crate) fn prefetch_of(&self, concurrency: usize) -> u16 {
        let count = concurrency.saturating_mul(self.prefetch_multiplier.into());
        // Celery switches the limit off past what AMQP can count; we keep the largest.
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    pub(crate) fn task_queues(&self) -> Vec<TaskQueue> {
        self.consumed().iter().map(|name| self.queues.queue(Some(name))).collect()
    }

    /// The names of the queues to consume.
    pub fn consumed(&self) -> Vec<String> {
        if !self.consume_from.is_empty() {
            return self.consume_from.clone();
        }
        if self.queues.known.is_empty() {
            return vec![self.queues.default.clone()];
        }
        self.queues.known.iter().map(|queue| queue.name().to_owned()).collect()
    }
}
