//! Jobs that are ended before they are done: by their limits, or by remote control.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_protocol::{Value, repr};
use rustix::time::{ClockId, clock_gettime};

use super::dispatch::{Bound, Id, Token};
use super::undone::Undone;
use super::{Kind, Pool, State};
use crate::host::{Cancel, HostError, Running, Signal};

/// How soon a job that is to be ended is looked at again, when it has not begun.
const AGAIN: Duration = Duration::from_millis(5);

impl Pool {
    /// Ends a job whose time is over, or that remote control has ended; one that has not begun is looked at later.
    pub(super) fn look(self: &Arc<Self>, state: &mut State, id: Id, token: Token, bound: Bound) {
        let Some(held) = state.held.get(&token) else { return };
        let Some(member) = state.children.get(&id) else { return };
        let (facts, now) = (held.request.facts.clone(), Instant::now());
        let limit = match bound {
            Bound::Soft => facts.policy.soft_time_limit,
            Bound::Hard => facts.policy.time_limit,
            Bound::Signal(_) => None,
        };
        let running = member.running().into_iter().find(|running| running.token == token);
        let left = match (running, limit) {
            (Some(running), Some(limit)) => limit.checked_sub(age(running)).filter(|left| !left.is_zero()),
            (Some(_), None) => None,
            (None, limit) => Some(limit.unwrap_or(AGAIN)),
        };
        if let Some(left) = left {
            if running.is_none() && matches!(bound, Bound::Signal(_)) {
                state.take_back(id); // it is found to be revoked when its turn comes again
            }
            return state.dispatch.bound(token, bound, now + left);
        }
        let (limit, floats) = (limit.unwrap_or_default(), &self.settings.floats);
        let limit = match bound {
            Bound::Soft => floats.soft(&facts, limit),
            Bound::Hard => floats.hard(&facts, limit),
            Bound::Signal(_) => Value::Null,
        };
        match bound {
            Bound::Soft => {
                tracing::warn!("Soft time limit ({}s) exceeded for {}", repr::value(&limit), facts.label());
            }
            Bound::Hard => {
                tracing::error!("Hard time limit ({}s) exceeded for {}", repr::value(&limit), facts.label());
            }
            Bound::Signal(_) if !self.settings.kind.ends_tasks() => {
                tracing::warn!("{} runs on: a thread cannot be terminated", facts.label());
            }
            Bound::Signal(_) => {}
        }
        match self.settings.kind {
            Kind::Prefork | Kind::Spawn | Kind::Solo => self.interrupt(state, id, token, bound, limit),
            Kind::Asyncio => state.cancel_bound(id, token, bound, &limit),
            Kind::Threads => {}
        }
    }

    /// Ends what a process runs; what it does not answer itself is stored by the service.
    fn interrupt(self: &Arc<Self>, state: &mut State, id: Id, token: Token, bound: Bound, limit: Value) {
        let undone = match bound {
            Bound::Soft => return state.signal(id, token, Signal::USR1),
            Bound::Hard => {
                state.end_child(id, token);
                Undone::TimedOut(limit)
            }
            Bound::Signal(signal) => {
                state.signal(id, token, Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
                self.parts.counters.revoked.count();
                Undone::Terminated(signal)
            }
        };
        if let Some(held) = state.held.remove(&token) {
            self.settle_undone(held, undone);
        }
    }
}

impl State {
    fn signal(&mut self, id: Id, token: Token, signal: Signal) {
        if let Some(member) = self.children.get_mut(&id) {
            member.terminated |= signal != Signal::USR1;
            let _ = member.child.signal(signal, token); // it may have ended by itself
        }
    }

    /// Ends a coroutine, whose tracer then answers; what is none runs on.
    fn cancel_bound(&mut self, id: Id, token: Token, bound: Bound, limit: &Value) {
        let how = match bound {
            Bound::Soft => Cancel::Soft,
            Bound::Hard => Cancel::Hard(limit),
            Bound::Signal(_) => Cancel::Revoke,
        };
        if !self.cancel(id, token, how) {
            return self.dispatch.bound(token, bound, Instant::now() + AGAIN);
        }
        if let (Bound::Signal(signal), Some(held)) = (bound, self.held.get_mut(&token)) {
            held.terminated = Some(signal);
        }
    }

    /// Has a coroutine cancelled; false when its process takes nothing at the moment.
    pub(super) fn cancel(&self, id: Id, token: Token, how: Cancel<'_>) -> bool {
        let member = self.children.get(&id);
        !member.is_some_and(|member| matches!(member.child.cancel(token, how), Err(HostError::Busy)))
    }
}

/// For how long a job has run.
fn age(running: Running) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
    now.saturating_sub(Duration::from_nanos(running.since))
}
