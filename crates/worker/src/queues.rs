use celeriac_broker::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Topology};

/// The queues that a program knows, and the one for everything else.
#[derive(Debug, Clone, PartialEq)]
pub struct Queues {
    /// `task_default_queue`.
    pub default: String,
    /// `task_default_queue_type` and `task_create_missing_queue_type`.
    pub kind: QueueKind,
    /// `task_queue_max_priority`.
    pub max_priority: Option<u8>,
    /// `task_queues`.
    pub known: Vec<Queue>,
}

impl Default for Queues {
    fn default() -> Self {
        Queues {
            default: "celery".to_owned(),
            kind: QueueKind::Classic,
            max_priority: None,
            known: Vec::new(),
        }
    }
}

impl Queues {
    /// The queue of a name, or the default one; one that is not known is made up with the defaults
    /// (`task_create_missing_queues`).
    pub fn queue(&self, name: Option<&str>) -> Queue {
        let name = name.unwrap_or(&self.default);
        let known = self.known.iter().find(|queue| queue.name == name);
        known.cloned().unwrap_or_else(|| Queue {
            kind: self.kind,
            max_priority: self.max_priority,
            ..Queue::new(name)
        })
    }
}

/// A queue that a worker consumes, and how messages get into it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskQueue {
    pub(crate) queue: Queue,
    pub(crate) exchange: Exchange,
    pub(crate) routing_key: String,
}

impl TaskQueue {
    /// With the exchange that each queue has by default: its own, direct, of the same name.
    pub(crate) fn new(queue: Queue) -> Self {
        let name = queue.name.clone();
        TaskQueue { queue, exchange: Exchange::new(&name, ExchangeKind::Direct), routing_key: name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.queue.name
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology {
            exchanges: vec![self.exchange.clone()],
            queues: vec![self.queue.clone()],
            bindings: vec![Binding::new(&self.queue.name, &self.exchange.name, &self.routing_key)],
        }
    }
}
