//! Time limits as Python has them.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_protocol::Value;
use celeriac_worker::Facts;

use super::{Fields, ReportError};

/// Time limits that are floats in Python, by task: it shows a whole one as `1.0`, where an `int` is `1`. That of
/// `--soft-time-limit 1` is one, and that of a task's `soft_time_limit=1` is none.
/// A caller's own limits are what they came as.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Floats {
    hard: HashMap<String, f64>,
    soft: HashMap<String, f64>,
}

impl Floats {
    /// A task without a limit of its own has the worker's.
    pub(super) fn read(tasks: &Fields<'_>, worker: &Fields<'_>) -> Result<Self, ReportError> {
        let floats = |limit: &str| -> Result<HashMap<String, f64>, ReportError> {
            let mut floats = HashMap::new();
            for (name, task) in tasks.parts() {
                let task = task?;
                let own = task.value(limit);
                if let Value::Float(float) = if own.is_true() { own } else { worker.value(limit) } {
                    floats.insert(name, *float);
                }
            }
            Ok(floats)
        };
        Ok(Floats { hard: floats("time_limit")?, soft: floats("soft_time_limit")? })
    }

    /// The hard limit of a request.
    pub(crate) fn hard(&self, facts: &Facts, limit: Duration) -> Value {
        let [is_float, _] = facts.headers.float_limits;
        shown(limit, is_float || facts.headers.time_limit.is_none() && is_own(&self.hard, facts, limit))
    }

    /// The soft limit of a request.
    pub(crate) fn soft(&self, facts: &Facts, limit: Duration) -> Value {
        let [_, is_float] = facts.headers.float_limits;
        shown(limit, is_float || facts.headers.soft_time_limit.is_none() && is_own(&self.soft, facts, limit))
    }
}

fn is_own(floats: &HashMap<String, f64>, facts: &Facts, limit: Duration) -> bool {
    floats.get(&facts.headers.task).is_some_and(|own| *own == limit.as_secs_f64())
}

fn shown(limit: Duration, is_float: bool) -> Value {
    if limit.subsec_nanos() == 0 && !is_float { limit.as_secs().into() } else { limit.as_secs_f64().into() }
}
