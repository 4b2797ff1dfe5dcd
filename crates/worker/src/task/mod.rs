//! Native tasks: what they are, what they are told, and how they fail.

mod context;
mod error;
mod options;
mod rate;
mod registry;

pub(crate) use context::Overtime;
pub use context::{Context, Task};
pub use error::{ArgumentError, Failure, RetryOptions, TaskError};
pub use options::TaskOptions;
pub use rate::{Rate, RateError};
pub use registry::{NativeTask, Registered, Registry, Run};
