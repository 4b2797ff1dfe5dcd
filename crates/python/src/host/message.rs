//! What a child says.

use celeriac_protocol::Value;

use super::HostError;
use super::marshal::loads;

/// A message of a child.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// It can take jobs.
    Up,
    /// Jobs have ended.
    Done(Vec<Answer>),
    /// A job runs; from the pools that run many in a process.
    Began {
        /// The job.
        token: u64,
        /// Since when: nanoseconds of the monotonic clock.
        since: u64,
    },
    /// It runs something long, and gives back the jobs that it has taken and not begun.
    Left(Vec<u64>),
    /// It ends after this, and what it has not answered has not begun.
    Bye(Bye),
}

/// Why a child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bye {
    /// It has run as many tasks, or taken as much memory, as it may.
    Limit,
    /// It was told to, or a task did it.
    Exit,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The job.
    pub token: u64,
    /// How it ended.
    pub state: State,
    /// How long it took, in seconds.
    pub runtime: f64,
    /// The repr of the result, of the exception or of a retry's reason; the reason of a reject.
    pub text: String,
    /// The traceback of what failed; empty for what did not.
    pub traceback: String,
    /// The peak of the child's memory in KiB, or 0 without `max_memory_per_child`.
    pub rss: u64,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It returned.
    Ok,
    /// It raised.
    Failure,
    /// It comes again; the retry has been sent.
    Retry,
    /// `Ignore` was raised: nothing is stored.
    Ignore,
    /// `Reject` was raised.
    Reject {
        /// Whether the message shall come again.
        requeue: bool,
    },
    /// The tracer itself failed and stored nothing: the service is to store it.
    Internal,
    /// `SystemExit` or `KeyboardInterrupt`: the same, and the child ends.
    Exit,
    /// `Reject` was raised, the message does not come again, and this Celery stores that: the service is to do it.
    Refused,
}

impl Message {
    pub(super) fn read(packet: &[u8]) -> Result<Self, HostError> {
        let message = loads(packet)?;
        match parts(&message) {
            Some(("up", [_])) => Ok(Message::Up),
            Some(("done", [Value::List(answers)])) => {
                let read = |answer| Answer::read(answer).ok_or_else(|| unexpected(answer));
                answers.iter().map(read).collect::<Result<_, _>>().map(Message::Done)
            }
            Some(("began", [token, since])) => match (unsigned(token), unsigned(since)) {
                (Some(token), Some(since)) => Ok(Message::Began { token, since }),
                _ => Err(unexpected(&message)),
            },
            Some(("left", [Value::List(tokens)])) => {
                let tokens = tokens.iter().map(|token| unsigned(token).ok_or_else(|| unexpected(&message)));
                tokens.collect::<Result<_, _>>().map(Message::Left)
            }
            Some(("bye", [Value::String(reason)])) if reason == "limit" => Ok(Message::Bye(Bye::Limit)),
            Some(("bye", [_])) => Ok(Message::Bye(Bye::Exit)),
            _ => Err(unexpected(&message)),
        }
    }
}

impl Answer {
    fn read(answer: &Value) -> Option<Self> {
        let [token, state, runtime, text, second, rss] = answer.as_list()? else { return None };
        let second = second.as_str()?;
        let state = match state.as_str()? {
            "ok" => State::Ok,
            "failure" => State::Failure,
            "retry" => State::Retry,
            "ignore" => State::Ignore,
            "reject" => State::Reject { requeue: second == "requeue" },
            "internal" => State::Internal,
            "exit" => State::Exit,
            "refused" => State::Refused,
            _ => return None,
        };
        let traceback = if matches!(state, State::Reject { .. }) { "" } else { second };
        Some(Answer {
            token: unsigned(token)?,
            state,
            runtime: runtime.as_f64()?,
            text: text.as_str()?.to_owned(),
            traceback: traceback.to_owned(),
            rss: unsigned(rss)?,
        })
    }
}

/// The kind of a message, and what is behind it.
pub fn parts(message: &Value) -> Option<(&str, &[Value])> {
    let (kind, rest) = message.as_list()?.split_first()?;
    Some((kind.as_str()?, rest))
}

/// An integer that is not negative.
pub fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BigInt(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// For a log: what it began with.
pub fn unexpected(message: &Value) -> HostError {
    let shown = format!("{message:?}");
    HostError::Unexpected(shown.chars().take(200).collect())
}
