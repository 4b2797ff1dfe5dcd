//! YAML 1.1 as PyYAML's `safe_load` and `safe_dump` have it, within the types of [`Value`](crate::Value).

mod read;
mod scalar;
mod timestamp;
mod write;

pub(super) use read::read;
pub(super) use write::write;

const NAME: &str = "yaml";
