//! What a task's function gives, as Celery's data.

use std::any::Any;

use celeriac_protocol::{Value, to_value};
use celeriac_worker::{Failure, TaskError};
use serde::Serialize;

/// A `Result` that a task may return.
pub trait Fallible {
    /// What it returns when it succeeds.
    type Value;

    /// How it ended.
    ///
    /// # Errors
    /// Its own, or that what it returns is no data.
    fn outcome(self) -> Result<Value, TaskError>;
}

impl<T: Serialize + 'static, E: Into<TaskError>> Fallible for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<Value, TaskError> {
        value(self.map_err(Into::into)?)
    }
}

/// A value that a task returns.
///
/// # Errors
/// When it is no data (kombu's `EncodeError`).
pub fn value<T: Serialize + 'static>(value: T) -> Result<Value, TaskError> {
    let mut value = Some(value);
    // A `Value` is taken as it is.
    if let Some(value) = (&mut value as &mut dyn Any).downcast_mut::<Option<Value>>().and_then(Option::take) {
        return Ok(value);
    }
    to_value(&value).map_err(|error| {
        let module = Some("kombu.exceptions".to_owned());
        TaskError::Failure(Failure { module, ..Failure::new("EncodeError", error.to_string()) })
    })
}
