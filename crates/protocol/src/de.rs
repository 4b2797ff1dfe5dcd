use serde::de::DeserializeOwned;

use crate::{Value, ValueError};

/// Reads a value as a Rust type.
///
/// # Errors
/// When the value does not have the type's shape.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    let _ = value;
    unimplemented!()
}
