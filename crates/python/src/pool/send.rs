//! Requests on their way to a child: what is checked last, and what is said when they are sent.

use std::sync::Arc;
use std::time::Instant;

use celeriac_worker::Revocation;
use chrono::Utc;

use super::dispatch::{Id, Token};
use super::request::Packed;
use super::undone::Undone;
use super::{Held, Pool, State, settle};
use crate::host::{HostError, Job};

impl Pool {
    /// Sends jobs to a child; what it does not take waits again.
    pub(super) fn send(self: &Arc<Self>, state: &mut State, id: Id, tokens: Vec<Token>) {
        let ready: Vec<_> =
            tokens.iter().filter_map(|token| Some((*token, self.pack(state, id, *token)?))).collect();
        let jobs: Vec<_> =
            ready.iter().map(|(token, packed)| Job { token: *token, call: packed.call() }).collect();
        let Some(member) = state.children.get_mut(&id) else { return };
        let (child, now) = (member.child.clone(), Instant::now());
        let pid = u32::try_from(child.pid()).unwrap_or_default();
        let sent = child.send(&jobs);
        let (taken, left) = jobs.split_at(sent.as_ref().map_or(0, |count| *count).min(jobs.len()));
        member.sent += taken.len() as u64;
        match sent {
            Ok(_) => {
                for job in taken {
                    let is_short = state.dispatch.is_short(job.call.name);
                    if let Some(held) = state.held.get_mut(&job.token).filter(|held| !held.begun) {
                        held.begun = true;
                        settle::begin(&self.parts, &mut held.request, is_short, pid);
                    }
                }
            }
            Err(HostError::TooLarge(token)) => {
                self.refuse(state, id, token, &HostError::TooLarge(token));
            }
            Err(error) => {
                tracing::error!("Child pid:{pid} takes no jobs and is killed: {error}");
                state.dispatch.leaves(id);
                let _ = child.kill();
            }
        }
        if !left.is_empty() {
            let left: Vec<Token> = left.iter().map(|job| job.token).collect();
            state.dispatch.refused(id, &left, now);
        }
    }

    /// A request as it is sent, unless it is not to run.
    fn pack(self: &Arc<Self>, state: &mut State, id: Id, token: Token) -> Option<Packed> {
        let gone = |state: &mut State| state.dispatch.answered(id, token, None, Instant::now());
        let Some(held) = state.held.get(&token) else {
            gone(state); // it was cancelled
            return None;
        };
        let facts = held.request.facts.clone();
        if !held.begun {
            if held.request.is_void() {
                state.held.remove(&token);
                gone(state);
                return None;
            }
            if let Some(revocation) = self.parts.revokes.check(&facts, Utc::now()) {
                let held = state.held.remove(&token);
                gone(state);
                held.into_iter().for_each(|held| self.discard_held(held, revocation.clone()));
                return None;
            }
        }
        let settings = &self.parts.settings;
        match Packed::new(&facts, &settings.hostname, &settings.accept) {
            Ok(packed) if self.settings.reads_json => Some(packed.read()),
            Ok(packed) => Some(packed),
            Err(error) => {
                self.refuse(state, id, token, &error);
                None
            }
        }
    }

    /// Nobody can run it: a dead-letter exchange gets it.
    fn refuse(&self, state: &mut State, id: Id, token: Token, error: &dyn std::error::Error) {
        state.dispatch.answered(id, token, None, Instant::now());
        if let Some(mut held) = state.held.remove(&token) {
            self.parts.counters.invalid.count();
            tracing::error!("Received invalid task message: {}: {error}", held.request.facts.label());
            settle::reject(&self.parts, &mut held.request, false);
        }
    }

    fn discard_held(self: &Arc<Self>, held: Held, revocation: Revocation) {
        revocation.tell(&held.request.facts, &self.parts.counters);
        self.settle_undone(held, Undone::Revoked(revocation));
    }
}
