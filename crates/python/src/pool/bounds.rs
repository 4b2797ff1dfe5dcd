//! Jobs that are ended before they are done: by their limits, or by remote control.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::dispatch::{Bound, Id, Token};
use super::undone::Undone;
use super::{Pool, State};
use crate::host::{Running, Signal};

/// How soon a job that is to be ended is looked at again, when it has not begun.
const AGAIN: Duration = Duration::from_millis(5);

impl Pool {
    /// Ends a job whose time is over, or that remote control has ended; one that has not begun is looked at later.
    pub(super) fn look(self: &Arc<Self>, state: &mut State, id: Id, token: Token, bound: Bound) {
        let Some(held) = state.held.get(&token) else { return };
        let Some(member) = state.children.get(&id) else { return };
        let (facts, child, now) = (held.request.facts.clone(), member.child.clone(), Instant::now());
        let limit = match bound {
            Bound::Soft => facts.policy.soft_time_limit,
            Bound::Hard => facts.policy.time_limit,
            Bound::Signal(_) => None,
        };
        let running = child.running().ok().flatten().filter(|running| running.token == token);
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
        let seconds = limit.map(|limit| limit.as_secs_f64()).unwrap_or_default();
        match bound {
            Bound::Soft => {
                tracing::warn!("Soft time limit ({seconds}s) exceeded for {}", facts.label());
                let _ = child.signal(Signal::USR1, token); // it may have ended by itself
            }
            Bound::Hard => {
                tracing::error!("Hard time limit ({seconds}s) exceeded for {}", facts.label());
                state.end_child(id, token);
                if let (Some(held), Some(limit)) = (state.held.remove(&token), limit) {
                    self.settle_undone(held, Undone::TimedOut(limit));
                }
            }
            Bound::Signal(signal) => {
                let known = Signal::from_named_raw(signal).unwrap_or(Signal::TERM);
                let _ = child.signal(known, token); // it may have ended by itself
                if let Some(held) = state.held.remove(&token) {
                    self.parts.counters.revoked.count();
                    self.settle_undone(held, Undone::Terminated(signal));
                }
            }
        }
    }
}

/// For how long a job has run.
fn age(running: Running) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
    now.saturating_sub(Duration::from_nanos(running.since))
}
