//! JSON as Python's `json` and kombu's hooks read and write it (`kombu/utils/json.py`).

mod envelope;
mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

const NAME: &str = "json";
