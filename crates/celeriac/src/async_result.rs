use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::result::Exception;
use celeriac_protocol::{State, TaskMeta, Value, from_value};
use celeriac_results::ResultStore;
use serde::de::DeserializeOwned;

use crate::ResultError;

/// What will become of a call: its id, and a store to ask.
///
/// It holds nothing open, and may be made again from the id with [`App::result`](crate::App::result).
pub struct AsyncResult<T = Value> {
    id: String,
    store: Arc<dyn ResultStore>,
    ignored: bool,
    value: PhantomData<fn() -> T>,
}

impl<T> AsyncResult<T> {
    pub(crate) fn new(id: String, store: Arc<dyn ResultStore>, ignored: bool) -> Self {
        AsyncResult { id, store, ignored, value: PhantomData }
    }

    /// The call's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state now; a call that the store does not know is pending.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn state(&self) -> Result<State, ResultError> {
        Ok(self.meta().await?.state)
    }

    /// Whether the call has succeeded, failed or been revoked.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn ready(&self) -> Result<bool, ResultError> {
        Ok(self.state().await?.is_ready())
    }

    /// All that the store knows now.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn meta(&self) -> Result<TaskMeta, ResultError> {
        Ok(self.store.fetch(&self.id).await?)
    }

    /// Has the store drop the result.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn forget(&self) -> Result<(), ResultError> {
        Ok(self.store.forget(&self.id).await?)
    }
}

impl<T: DeserializeOwned> AsyncResult<T> {
    /// Waits for the task's return value, for as long as it takes.
    ///
    /// # Errors
    /// The task's own failure, and all else that [`ResultError`] lists.
    pub async fn get(&self) -> Result<T, ResultError> {
        if self.ignored {
            return Err(ResultError::Ignored);
        }
        value(self.store.wait(&self.id).await?)
    }

    /// Waits at most so long.
    ///
    /// # Errors
    /// [`ResultError::Timeout`], and those of [`get`](Self::get).
    pub async fn get_timeout(&self, timeout: Duration) -> Result<T, ResultError> {
        tokio::time::timeout(timeout, self.get()).await.unwrap_or(Err(ResultError::Timeout))
    }
}

fn value<T: DeserializeOwned>(meta: TaskMeta) -> Result<T, ResultError> {
    match (meta.exception(), meta.state) {
        (_, State::Success) => from_value(meta.result).map_err(ResultError::Decode),
        (exception, State::Revoked) => {
            Err(ResultError::Revoked(exception.as_ref().map(Exception::text).unwrap_or_default()))
        }
        (exception, _) => {
            let exception = exception.unwrap_or_else(|| Exception::from_value(&meta.result));
            Err(ResultError::Task { exception: Box::new(exception), traceback: meta.traceback })
        }
    }
}

impl<T> Clone for AsyncResult<T> {
    fn clone(&self) -> Self {
        AsyncResult::new(self.id.clone(), self.store.clone(), self.ignored)
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.id).finish()
    }
}
