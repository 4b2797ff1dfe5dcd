//! Tasks as one worker serves them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::settings::Settings;
use crate::task::{Rate, Registered};

/// A task with what this worker knows of it: how often it ran, and the limits that remote control may change.
pub struct Served {
    /// Its name.
    pub name: String,
    pub(crate) task: Arc<Registered>,
    /// How often it was started.
    pub(crate) runs: AtomicU64,
    limits: RwLock<Limits>,
}

/// The limits of a task in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    pub(crate) rate: Option<Rate>,
    pub(crate) time: Option<Duration>,
    pub(crate) soft_time: Option<Duration>,
}

impl Served {
    pub(crate) fn new(name: &str, task: Arc<Registered>, settings: &Settings) -> Self {
        let limits = Limits {
            rate: task.options.rate_limit.clone().or_else(|| settings.task_default_rate_limit.clone()),
            time: task.options.time_limit.or(settings.task_time_limit),
            soft_time: task.options.soft_time_limit.or(settings.task_soft_time_limit),
        };
        Served { name: name.to_owned(), task, runs: AtomicU64::new(0), limits: RwLock::new(limits) }
    }

    /// It was started once more.
    pub fn count_run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_limits(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// How often it may start.
    pub fn rate(&self) -> Option<Rate> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).rate.clone()
    }

    /// The time limits, hard and soft.
    pub(crate) fn time_limits(&self) -> (Option<Duration>, Option<Duration>) {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        (limits.time, limits.soft_time)
    }

    pub(crate) fn sends_events(&self) -> bool {
        self.task.options.send_events
    }
}
