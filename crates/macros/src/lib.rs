//! The attribute of celeriac's tasks; use it as `celeriac::task`, where its documentation is read best.

mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

/// Makes a function a task.
///
/// An `async fn` runs on the async runtime; a plain `fn` may block and runs on a thread of its own. The function
/// becomes a type of its name:
///
/// - `App::builder("hello").task(add)` gives the task to an app;
/// - `add::new(1, 2)` is a call to be sent, a `celeriac::TaskCall`, with the very parameters of the function;
/// - `add::run(1, 2)` is the function itself, called here and now (for tests, and for other tasks).
///
/// ```ignore
/// #[celeriac::task(name = "tasks.add", max_retries = 5, acks_late)]
/// async fn add(x: i64, y: i64) -> i64 {
///     x + y
/// }
/// ```
///
/// # Name
/// Without `name` it is the module's path with dots and the function's name, as in Celery: `add` in the crate
/// `hello` is `hello.add`, in its module `jobs` it is `hello.jobs.add`.
///
/// # Parameters
/// Every type must be `serde::de::DeserializeOwned` (and `Serialize`, for `new`). Arguments come by place or by
/// name, with Python's rules and Python's words for what does not fit.
///
/// - `Option<T>` may be missing, and is `None` then.
/// - `#[default(10)] size: i64` may be missing too.
/// - `#[args] rest: Vec<celeriac::Value>` takes further positional arguments (Python's `*args`).
/// - `#[kwargs] more: celeriac::Map` takes further keyword arguments (Python's `**kwargs`).
///
/// # Result
/// Anything that is `Serialize`; or a `Result` of it (by whatever path or alias, as long as its name ends with
/// `Result`) whose error is `Into<celeriac::TaskError>`, which every `std::error::Error` is.
///
/// # Options
/// Celery's task attributes. A flag may stand alone or have a value: `acks_late`, `acks_late = false`. Times are
/// seconds, `30` or `2.5`.
///
/// | option | |
/// |---|---|
/// | `name = "..."` | the task's name |
/// | `bind` | the first parameter is the `celeriac::Task`: id, retries, headers, `retry()` |
/// | `max_retries = 5`, `= None` | how often it may be retried (3); `None` is for ever |
/// | `default_retry_delay` | seconds before a retry that names no time (180) |
/// | `autoretry` | retry by itself on every error (Celery's `autoretry_for=(Exception,)`) |
/// | `retry_backoff`, `= 2` | retries by `autoretry` wait that many seconds (1), then twice as long each time |
/// | `retry_backoff_max` | at most that many seconds (600) |
/// | `retry_jitter = false` | wait the back-off in full, not a random part of it |
/// | `acks_late` | acknowledge after the run |
/// | `acks_on_failure_or_timeout = false` | with `acks_late`, reject what failed |
/// | `ignore_result` | store no result |
/// | `store_errors_even_if_ignored` | but failures |
/// | `track_started` | store the state `STARTED` |
/// | `time_limit`, `soft_time_limit` | seconds until the task is ended, told |
/// | `rate_limit = "10/m"` | how often it may start on one worker, a second, minute or hour: `2`, `"2/s"`, `"10/m"`, `"5/h"` |
/// | `send_events = false` | tell monitors nothing of it |
/// | `queue = "..."`, `priority = 3` | where calls go |
/// | `expires` | seconds after which a call is not worth running |
/// | `serializer = "json"`, `compression = "gzip"` | how calls are encoded |
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
