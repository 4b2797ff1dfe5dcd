use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::{Map, Value, repr};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::arguments::{self, Arguments};
use super::builtin::{self, Call};
use super::memory::Samples;
use super::revoke::Marks;
use crate::consumer::Consumer;

/// The longest that a command may take: the next one waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A command that could not be carried out, as Python would name the error: `ValueError('…')`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("KeyError({})", quoted(.0))]
    Unknown(String),
    /// An argument is missing, too many or of the wrong type.
    #[error("TypeError({})", quoted(.0))]
    Argument(String),
    /// It makes no sense here or now.
    #[error("ValueError({})", quoted(.0))]
    Value(String),
    /// Something else, by the name of Python's exception.
    #[error("{kind}({})", quoted(.text))]
    Other {
        /// For example `RuntimeError`.
        kind: &'static str,
        /// What it says.
        text: String,
    },
}

fn quoted(text: &str) -> String {
    repr::value(&text.into())
}

/// What answers a command. Closures do: `|consumer, arguments| async move { Ok(…) }`.
pub trait Handler: Send + Sync + 'static {
    /// Carries the command out and returns the answer. The worker's next command waits for it, 10 s at most.
    fn call(
        &self,
        consumer: Arc<Consumer>,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Value, CommandError>>;
}

impl<F, O> Handler for F
where
    F: Fn(Arc<Consumer>, Arguments) -> O + Send + Sync + 'static,
    O: Future<Output = Result<Value, CommandError>> + Send + 'static,
{
    fn call(
        &self,
        consumer: Arc<Consumer>,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Value, CommandError>> {
        self(consumer, arguments).boxed()
    }
}

/// The commands of a worker, and what they remember.
#[derive(Default)]
pub(crate) struct Commands {
    /// The program's own, by name; they go before Celery's.
    own: HashMap<String, Arc<dyn Handler>>,
    pub(super) samples: Samples,
    pub(super) marks: Marks,
}

impl Commands {
    pub(crate) fn add(&mut self, name: impl Into<String>, handler: impl Handler) {
        self.own.insert(name.into(), Arc::new(handler));
    }

    /// The name of a command that is known, under which requests for it are counted.
    pub(super) fn known(&self, method: &str) -> &str {
        let own = self.own.get_key_value(method).map(|(name, _)| name.as_str());
        own.or_else(|| Some(builtin::find(method)?.name)).unwrap_or("unknown")
    }

    /// Whether the program has its own command of that name.
    pub(super) fn is_own(&self, method: &str) -> bool {
        self.own.contains_key(method)
    }

    /// Carries a command out. It can neither hang nor take the worker's control with it.
    pub(crate) async fn call(
        &self,
        consumer: &Arc<Consumer>,
        name: &str,
        arguments: Map,
    ) -> Result<Value, CommandError> {
        let call = AssertUnwindSafe(self.dispatch(consumer, name, arguments)).catch_unwind();
        match tokio::time::timeout(TIMEOUT, call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(other("RuntimeError", "the command panicked")),
            Err(_) => Err(other("TimeoutError", format!("the command took longer than {TIMEOUT:?}"))),
        }
    }

    async fn dispatch(
        &self,
        consumer: &Arc<Consumer>,
        name: &str,
        arguments: Map,
    ) -> Result<Value, CommandError> {
        if let Some(handler) = self.own.get(name) {
            return handler.call(consumer.clone(), Arguments::new(arguments)).await;
        }
        let builtin = builtin::find(name).ok_or_else(|| CommandError::Unknown(name.to_owned()))?;
        arguments::check(builtin, &arguments)?;
        let arguments = Arguments::new(arguments);
        match builtin.call {
            Call::Now(call) => call(consumer, arguments),
            Call::Later(call) => call(consumer.clone(), arguments).await,
        }
    }
}

pub(super) fn other(kind: &'static str, text: impl Into<String>) -> CommandError {
    CommandError::Other { kind, text: text.into() }
}

/// The answer that all is well.
pub(super) fn ok(text: impl Into<String>) -> Result<Value, CommandError> {
    Ok(Map::from_iter([("ok", Value::from(text.into()))]).into())
}

/// The answer that it was not done, which is no exception in Celery.
pub(super) fn nok(text: impl Into<String>) -> Result<Value, CommandError> {
    Ok(Map::from_iter([("error", Value::from(text.into()))]).into())
}
