use std::collections::HashMap;
use std::sync::Arc;

use celeriac_protocol::{Map, Value, repr};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::consumer::Consumer;

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
}

fn quoted(text: &str) -> String {
    repr::value(&text.into())
}

/// What answers a command. Closures do: `|consumer, arguments| async move { Ok(…) }`.
pub trait Handler: Send + Sync + 'static {
    /// Carries the command out and returns the answer.
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

/// The keyword arguments of a command.
#[derive(Debug, Clone, Default)]
pub struct Arguments(Map);

impl Arguments {
    /// Takes an argument out; absent is `None`, as in Python.
    pub fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }

    /// All that were not taken.
    pub fn rest(self) -> Map {
        self.0
    }
}

/// The commands of a worker, by name.
#[derive(Default)]
pub(crate) struct Commands(HashMap<String, Arc<dyn Handler>>);

impl Commands {
    pub(crate) fn add(&mut self, name: impl Into<String>, handler: impl Handler) {
        self.0.insert(name.into(), Arc::new(handler));
    }

    /// Carries a command out.
    pub(crate) async fn call(
        &self,
        consumer: &Arc<Consumer>,
        name: &str,
        arguments: Map,
    ) -> Result<Value, CommandError> {
        let handler = self.0.get(name).ok_or_else(|| CommandError::Unknown(name.to_owned()))?;
        handler.call(consumer.clone(), Arguments(arguments)).await
    }
}
