//! Remote control of workers, Python's and ours (`celery/app/control.py`).
//!
//! [`App::control`](crate::App::control) gives a [`Control`]; its options say who is meant and whether to wait for
//! replies, its methods are Celery's commands:
//!
//! ```no_run
//! # use std::time::Duration;
//! # async fn example(app: celeriac::App) -> Result<(), celeriac::ControlError> {
//! app.control().revoke(["some-id"]).await?;
//! for reply in app.control().destination(["w1@host"]).reply().pool_grow(2).await? {
//!     println!("{}: {:?}", reply.node, reply.value);
//! }
//! let stats = app.control().timeout(Duration::from_secs(2)).inspect().stats().await?;
//! # Ok(())
//! # }
//! ```

mod broadcast;
mod commands;
mod inspect;
#[cfg(test)]
mod tests;

use std::time::Duration;

use celeriac_protocol::{Map, Value};

pub use self::commands::AddConsumer;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use self::commands::purge;
pub use self::inspect::Inspect;
#[cfg(feature = "cli")]
pub(crate) use self::inspect::by_node;
use crate::{App, ControlError};

/// Tells workers what to do. Made by [`App::control`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before a command is called"]
pub struct Control {
    app: App,
    options: BroadcastOptions,
}

/// Who is meant by a request, and how long to wait for replies.
#[derive(Debug, Clone, PartialEq)]
pub struct BroadcastOptions {
    /// The workers that are meant; all when it is empty.
    pub destination: Vec<String>,
    /// Without a destination: a pattern of names, and its language, `glob` or `pcre`.
    pub pattern: Option<(String, String)>,
    /// Whether to wait for replies.
    pub reply: bool,
    /// How long to wait for one more reply. Workers ignore a request that is older.
    pub timeout: Duration,
    /// After how many replies to stop waiting; by default the number of destinations.
    pub limit: Option<usize>,
}

/// What one worker answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The worker's name.
    pub node: String,
    /// Its answer; most commands that change something answer `{"ok": text}` or `{"error": text}`.
    pub value: Value,
}

impl Default for BroadcastOptions {
    fn default() -> Self {
        BroadcastOptions {
            destination: Vec::new(),
            pattern: None,
            reply: false,
            timeout: Duration::from_secs(1),
            limit: None,
        }
    }
}

impl Control {
    pub(crate) fn new(app: App) -> Self {
        Control { app, options: BroadcastOptions::default() }
    }

    /// All options at once.
    pub fn options(self, options: BroadcastOptions) -> Self {
        Control { options, ..self }
    }

    /// Means these workers alone.
    pub fn destination(self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|options| options.destination = nodes.into_iter().map(Into::into).collect())
    }

    /// Means the workers whose names match, by the matcher `glob` or `pcre`.
    pub fn pattern(self, pattern: impl Into<String>, matcher: impl Into<String>) -> Self {
        self.with(|options| options.pattern = Some((pattern.into(), matcher.into())))
    }

    /// Waits for replies.
    pub fn reply(self) -> Self {
        self.with(|options| options.reply = true)
    }

    /// How long to wait for one more reply, a second by default.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.timeout = timeout)
    }

    /// Stops waiting after so many replies.
    pub fn limit(self, limit: usize) -> Self {
        self.with(|options| options.limit = Some(limit))
    }

    /// The commands that only ask, with the same options.
    pub fn inspect(self) -> Inspect {
        Inspect::new(self)
    }

    /// Sends a command by name, one of Celery's or of the workers' own. Without [`reply`](Self::reply) there are no
    /// replies.
    ///
    /// # Errors
    /// [`ControlError`]; that nobody answers is none.
    pub async fn broadcast(&self, method: &str, arguments: Map) -> Result<Vec<Reply>, ControlError> {
        self.broadcast_with(method, arguments, |_| {}).await
    }

    /// The same; `heard` is told of each reply as it comes.
    ///
    /// # Errors
    /// Those of [`broadcast`](Self::broadcast).
    pub async fn broadcast_with(
        &self,
        method: &str,
        arguments: Map,
        heard: impl FnMut(&Reply) + Send,
    ) -> Result<Vec<Reply>, ControlError> {
        broadcast::broadcast(&self.app, method, arguments, &self.options, heard).await
    }

    fn with(mut self, set: impl FnOnce(&mut BroadcastOptions)) -> Self {
        set(&mut self.options);
        self
    }
}
