use serde::Serialize;

use crate::{Value, ValueError};

/// Writes a Rust value as Celery's data.
///
/// # Errors
/// When Celery's data model cannot hold it, such as a map whose keys are no text.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    let _ = value;
    unimplemented!()
}
