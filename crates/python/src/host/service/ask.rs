//! The words for the service: `docs/host.md`, "Service".

use celeriac_protocol::{Map, Value};

use crate::host::Call;
use crate::host::marshal::Writer;
use crate::host::message::parts;

/// What a signal is about.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// A task: the `request` of `task_received` and `task_revoked`.
    Task(&'a Call<'a>),
    /// A message: the `message` of `task_rejected` and `task_unknown`.
    Message(&'a Call<'a>),
}

/// Why a task's child did not end it.
#[derive(Debug, Clone, Copy)]
pub enum Lost<'a> {
    /// The child died: the text of the `WorkerLostError`.
    Lost(&'a str),
    /// The hard time limit, as it was given.
    Timeout(&'a Value),
    /// The tracer failed, or the task ended its process: the texts of the answer.
    Internal {
        /// The exception's repr.
        exception: &'a str,
        /// Its traceback.
        traceback: &'a str,
    },
    /// The task ended its process: the same.
    Exit {
        /// The exception's repr.
        exception: &'a str,
        /// Its traceback.
        traceback: &'a str,
    },
    /// It was rejected for good, where Celery stores that.
    Reject {
        /// Why.
        reason: &'a str,
        /// The traceback of the `Reject`.
        traceback: &'a str,
    },
    /// It has been revoked, or has expired.
    Revoked {
        /// `revoked`, `terminated` or `expired`.
        reason: &'a str,
        /// Whether it ran.
        terminated: bool,
        /// The signal it was terminated with: its number or its name.
        signum: &'a Value,
        /// Whether it has expired.
        expired: bool,
    },
    /// It was cancelled and comes again.
    Retry,
    /// There is no such task.
    Unregistered,
}

/// What the service leaves to us.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an event.
    Event {
        /// Its type, `task-failed` for example.
        kind: String,
        /// Its fields.
        fields: Map,
    },
    /// Acknowledge the message.
    Ack,
    /// Reject the message.
    Reject {
        /// Whether it shall come again.
        requeue: bool,
    },
}

pub fn signal(name: &str, arguments: &Map, about: Option<About<'_>>) -> Writer {
    let mut writer = Writer::new();
    writer.tuple(3).str("signal").str(name).dict();
    for (key, value) in arguments.iter() {
        writer.str(key).value(value);
    }
    match about {
        Some(About::Task(call)) => call.write_message(writer.str("task").tuple(5).str(call.name)),
        Some(About::Message(call)) => call.write_message(writer.str("message").tuple(4)),
        None => {}
    }
    writer.end();
    writer
}

pub fn log(level: u8, logger: &str, text: &str, created: f64) -> Writer {
    let mut writer = Writer::new();
    writer.tuple(5).str("log").int(level.into()).str(logger).str(text).float(created);
    writer
}

pub fn control(seq: u64, name: &str, arguments: &Map) -> Writer {
    let mut writer = Writer::new();
    writer.tuple(4).str("control").uint(seq).str(name).map(arguments);
    writer
}

pub fn keep_revoked(seq: u64, path: &str, ids: &[String]) -> Writer {
    let mut writer = Writer::new();
    writer.tuple(4).str("revoked").uint(seq).str(path).tuple(ids.len());
    for id in ids {
        writer.str(id);
    }
    writer
}

pub fn lost(seq: u64, call: &Call<'_>, why: Lost<'_>) -> Writer {
    let mut writer = Writer::new();
    let texts = |writer: &mut Writer, kind: &str, what: &str, text: &str, traceback: &str| {
        writer.str(kind).dict().str(what).str(text).str("traceback").str(traceback);
    };
    writer.tuple(10).str("lost").uint(seq).str(call.name).str(call.id);
    call.write_message(&mut writer);
    match why {
        Lost::Lost(text) => {
            writer.str("lost").dict().str("text").str(text);
        }
        Lost::Timeout(limit) => {
            writer.str("timeout").dict().str("timeout").value(limit);
        }
        Lost::Internal { exception, traceback } => {
            texts(&mut writer, "internal", "exception", exception, traceback)
        }
        Lost::Exit { exception, traceback } => texts(&mut writer, "exit", "exception", exception, traceback),
        Lost::Reject { reason, traceback } => texts(&mut writer, "reject", "reason", reason, traceback),
        Lost::Revoked { reason, terminated, signum, expired } => {
            writer.str("revoked").dict().str("reason").str(reason).str("terminated").bool(terminated);
            writer.str("signum").value(signum).str("expired").bool(expired);
        }
        Lost::Retry => {
            writer.str("retry").dict();
        }
        Lost::Unregistered => {
            writer.str("unregistered").dict();
        }
    }
    writer.end();
    writer
}

/// The answer to `lost`.
pub fn actions(answer: &Value) -> Option<Vec<Action>> {
    answer.as_list()?.iter().map(action).collect()
}

fn action(value: &Value) -> Option<Action> {
    Some(match parts(value)? {
        ("event", [Value::String(kind), Value::Map(fields)]) => {
            Action::Event { kind: kind.clone(), fields: fields.clone() }
        }
        ("ack", []) => Action::Ack,
        ("reject", [Value::Bool(requeue)]) => Action::Reject { requeue: *requeue },
        _ => return None,
    })
}
