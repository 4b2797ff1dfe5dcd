//! What no child could end: the service stores it, as Celery's main process does.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::{Map, TaskMessage, Value};
use celeriac_worker::{Backend, Facts, Origin, Request, Revocation, Stage};

use super::request::Packed;
use super::{Held, Pool, settle};
use crate::host::{Action, Answer, HostError, Lost, State};

/// Why a request was not ended by its child.
pub enum Undone {
    /// The child died: what Celery says of it.
    Lost(String),
    /// By the hard time limit, as Python has it.
    TimedOut(Value),
    /// The tracer failed: exception and traceback.
    Internal(String, String),
    /// The task ended its process, the same.
    Exited(String, String),
    /// It was rejected for good, where Celery stores that: reason and traceback.
    Refused(String, String),
    /// By remote control, with this signal.
    Terminated(i32),
    /// It was revoked, or has expired, before it ran.
    Revoked(Revocation),
    /// It was cancelled, and comes again.
    Cancelled,
}

impl Undone {
    /// What an answer leaves to the service.
    pub fn of(answer: &Answer) -> Option<Self> {
        let kind = match answer.state {
            State::Internal => Undone::Internal,
            State::Exit => Undone::Exited,
            State::Refused => Undone::Refused,
            _ => return None,
        };
        Some(kind(answer.text.clone(), answer.traceback.clone()))
    }
}

impl Pool {
    /// Has a request stored and settled, soon.
    pub(super) fn settle_undone(self: &Arc<Self>, held: Held, undone: Undone) {
        let pool = self.clone();
        tokio::spawn(async move { pool.undone(held, undone).await });
    }

    /// A request was cancelled while it ran; where nothing is to be stored, only monitors hear of it.
    pub(super) async fn cancelled(&self, held: Held, store: bool) {
        if store {
            self.undone(held, Undone::Cancelled).await;
        } else {
            self.parts.events.task("task-cancelled", &held.request.facts, |_| {});
        }
    }

    async fn undone(&self, mut held: Held, undone: Undone) {
        match undone {
            Undone::Lost(_) | Undone::TimedOut(_) | Undone::Internal(..) | Undone::Exited(..) => {
                self.parts.counters.failed.count();
            }
            Undone::Refused(..) => self.parts.counters.rejected.count(),
            Undone::Terminated(_) | Undone::Revoked(_) | Undone::Cancelled => {}
        }
        let request = &mut held.request;
        let settings = &self.parts.settings;
        match Packed::new(&request.facts, &settings.hostname, &settings.accept) {
            Ok(packed) => match self.ask(&packed, &undone).await {
                Ok(actions) => settle::act(&self.parts, request, actions),
                Err(error) => {
                    tracing::error!("What became of {} is not stored: {error}", request.facts.label());
                    // What Celery cannot make sense of is not better next time; else it comes again, if it can.
                    if matches!(error, HostError::Refused(_)) {
                        settle::reject(&self.parts, request, false);
                    }
                }
            },
            Err(error) => {
                tracing::error!("What became of {} is not stored: {error}", request.facts.label());
                settle::reject(&self.parts, request, false);
            }
        }
    }

    async fn ask(&self, packed: &Packed, undone: &Undone) -> Result<Vec<Action>, HostError> {
        let signum;
        let why = match undone {
            Undone::Lost(text) => Lost::Lost(text),
            Undone::TimedOut(limit) => Lost::Timeout(limit),
            Undone::Internal(exception, traceback) => Lost::Internal { exception, traceback },
            Undone::Exited(exception, traceback) => Lost::Exit { exception, traceback },
            Undone::Refused(reason, traceback) => Lost::Reject { reason, traceback },
            Undone::Terminated(signal) => {
                signum = Value::from(*signal);
                Lost::Revoked { reason: "terminated", terminated: true, signum: &signum, expired: false }
            }
            Undone::Revoked(revocation) => {
                let (reason, expired) = (revocation.state(), revocation.is_expired());
                Lost::Revoked { reason, terminated: false, signum: &Value::Null, expired }
            }
            Undone::Cancelled => Lost::Retry,
        };
        self.home.lost(&packed.call(), why).await
    }
}

impl Pool {
    fn runs(&self, id: &str) -> bool {
        let is_it = |facts: &Facts| facts.headers.id == id && facts.progress.stage() == Stage::Active;
        self.state().held.values().any(|held| is_it(&held.request.facts))
    }
}

#[async_trait]
impl Backend for Pool {
    async fn discard(&self, request: Box<Request>, revocation: Revocation) {
        revocation.tell(&request.facts, &self.parts.counters);
        let held = Held::new(request, &self.load);
        self.undone(held, Undone::Revoked(revocation)).await;
    }

    async fn unregistered(&self, message: &TaskMessage, origin: &Origin) {
        let settings = &self.parts.settings;
        let TaskMessage { headers, properties, body } = message;
        let packed = Packed::of(headers, properties, body, origin, &settings.hostname, &settings.accept);
        let told = match packed {
            Ok(packed) => self.home.lost(&packed.call(), Lost::Unregistered).await,
            Err(error) => Err(HostError::Refused(error.to_string())),
        };
        match told {
            Ok(actions) => {
                for action in actions {
                    if let Action::Event { kind, fields } = action {
                        self.parts.events.send(kind, fields);
                    }
                }
            }
            Err(error) => tracing::error!("{}[{}] is not registered: {error}", headers.task, headers.id),
        }
    }

    async fn mark_revoked(&self, id: &str) -> Result<(), String> {
        if self.settings.spares_running && self.runs(id) {
            return Ok(());
        }
        let arguments = Map::from_iter([("task_id", Value::from(id))]);
        self.home.control("revoke", &arguments).await.map(drop).map_err(|error| error.to_string())
    }
}
