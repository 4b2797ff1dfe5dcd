use std::collections::BTreeSet;

use celeriac_protocol::{Map, Value};

use super::commands::texts;
use super::{Control, Reply};
use crate::ControlError;

type ByNode = Result<Map, ControlError>;

/// Asks workers what they know. Made by [`Control::inspect`]; every answer is by the worker's name.
#[derive(Debug, Clone)]
#[must_use = "nothing is asked before a command is called"]
pub struct Inspect(Control);

/// Each asks, and waits for the replies; see [`Control::broadcast`] for errors.
#[allow(clippy::missing_errors_doc, reason = "the line above")]
impl Inspect {
    pub(super) fn new(control: Control) -> Self {
        Inspect(control.reply())
    }

    /// A sign of life: `{"ok": "pong"}`.
    pub async fn ping(&self) -> ByNode {
        self.call("ping", []).await
    }

    /// What a worker is and has done: broker, clock, pid, pool, totals by task.
    pub async fn stats(&self) -> ByNode {
        self.call("stats", []).await
    }

    /// The tasks that run.
    pub async fn active(&self) -> ByNode {
        self.call("active", [("safe", Value::Null)]).await
    }

    /// The tasks that were received and wait for their turn.
    pub async fn reserved(&self) -> ByNode {
        self.call("reserved", []).await
    }

    /// The tasks that wait for their time.
    pub async fn scheduled(&self) -> ByNode {
        self.call("scheduled", []).await
    }

    /// The tasks that are known, with these attributes of theirs.
    pub async fn registered(&self, attributes: impl IntoIterator<Item = impl Into<String>>) -> ByNode {
        self.call("registered", [("taskinfoitems", texts(attributes).into())]).await
    }

    /// The queues that are consumed.
    pub async fn active_queues(&self) -> ByNode {
        self.call("active_queues", []).await
    }

    /// The ids that were revoked.
    pub async fn revoked(&self) -> ByNode {
        self.call("revoked", []).await
    }

    /// The settings; those that have their default only when asked for.
    pub async fn conf(&self, with_defaults: bool) -> ByNode {
        self.call("conf", [("with_defaults", with_defaults.into())]).await
    }

    /// Versions and settings as a text, for a bug report.
    pub async fn report(&self) -> ByNode {
        self.call("report", []).await
    }

    /// The logical clock.
    pub async fn clock(&self) -> ByNode {
        self.call("clock", []).await
    }

    /// Who leads the cluster, who watches it and how many are in it; celeriac's workers alone know that.
    pub async fn cluster(&self) -> ByNode {
        self.call("cluster", []).await
    }

    /// State and description of these tasks, where they are known.
    pub async fn query_task(&self, ids: impl IntoIterator<Item = impl Into<String>>) -> ByNode {
        self.call("query_task", [("ids", texts(ids).into())]).await
    }

    /// Takes a sample of the memory in use.
    pub async fn memsample(&self) -> ByNode {
        self.call("memsample", []).await
    }

    /// The last so many samples of the memory in use.
    pub async fn memdump(&self, samples: u32) -> ByNode {
        self.call("memdump", [("samples", samples.into())]).await
    }

    /// Draws a graph of a Python worker's objects into a file of its machine.
    pub async fn objgraph(&self, kind: &str, count: u32, max_depth: u32) -> ByNode {
        let arguments = [("num", count.into()), ("max_depth", max_depth.into()), ("type", kind.into())];
        self.call("objgraph", arguments).await
    }

    /// What a worker asks of others at its start: their clocks and revokes, in exchange for its own revokes.
    pub async fn hello(&self, from_node: &str, revoked: Option<Map>) -> ByNode {
        self.call("hello", [("from_node", from_node.into()), ("revoked", revoked.into())]).await
    }

    /// Asks by name, as [`Control::broadcast_with`] does.
    pub async fn request(&self, method: &str, arguments: Map, heard: impl FnMut(&Reply) + Send) -> ByNode {
        let replies = self.0.broadcast_with(method, arguments, heard).await?;
        Ok(by_node(replies, |warning| tracing::warn!("{warning}")))
    }

    async fn call<const N: usize>(&self, method: &str, arguments: [(&'static str, Value); N]) -> ByNode {
        self.request(method, arguments.into_iter().collect(), |_| {}).await
    }
}

/// The last reply of each worker. Workers of one name are a mistake, of which `warn` is told.
pub(crate) fn by_node(replies: Vec<Reply>, warn: impl FnOnce(String)) -> Map {
    let mut nodes = Map::new();
    let mut doubled = BTreeSet::new();
    for Reply { node, value } in replies {
        if nodes.insert(node.clone(), value).is_some() {
            doubled.insert(node);
        }
    }
    if !doubled.is_empty() {
        let names = if doubled.len() > 1 { "nodes" } else { "node" };
        let doubled = Vec::from_iter(doubled).join(", ");
        warn(format!(
            "Received multiple replies from {names} {doubled}: give each worker a name of its own, by -n"
        ));
    }
    nodes
}
