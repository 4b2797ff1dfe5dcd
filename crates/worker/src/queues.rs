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
    pub known: Vec<TaskQueue>,
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
    pub fn queue(&self, name: Option<&str>) -> TaskQueue {
        let name = name.unwrap_or(&self.default);
        let known = self.known.iter().find(|queue| queue.name() == name);
        known.cloned().unwrap_or_else(|| {
            let made_up = Queue { kind: self.kind, max_priority: self.max_priority, ..Queue::new(name) };
            made_up.into()
        })
    }
}

/// A queue that a worker consumes, and how messages get into it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskQueue {
    /// The queue.
    pub queue: Queue,
    /// Its exchange; with the empty name, the default one.
    pub exchange: Exchange,
    /// What binds it to its exchange.
    pub routing_key: String,
    /// Further exchanges that it is bound to, with their keys (`kombu.Queue.bindings`).
    pub bindings: Vec<(Exchange, String)>,
    /// It exists already: neither it nor its exchanges are declared (`kombu.Queue.no_declare`).
    pub no_declare: bool,
}

impl TaskQueue {
    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.queue.name
    }

    /// What must be declared before it is consumed. Every queue is bound to the default exchange already.
    pub fn topology(&self) -> Topology {
        if self.no_declare {
            return Topology::default();
        }
        let own = (!self.exchange.name.is_empty()).then_some((&self.exchange, &self.routing_key));
        let further = self.bindings.iter().map(|(exchange, key)| (exchange, key));
        let mut topology = Topology { queues: vec![self.queue.clone()], ..Topology::default() };
        for (exchange, key) in own.into_iter().chain(further) {
            topology.exchanges.push(exchange.clone());
            topology.bindings.push(Binding::new(self.name(), &exchange.name, key));
        }
        topology
    }
}

/// With the exchange that each queue has by default: its own, direct, of the same name.
impl From<Queue> for TaskQueue {
    fn from(queue: Queue) -> Self {
        let name = queue.name.clone();
        let exchange = Exchange::new(&name, ExchangeKind::Direct);
        TaskQueue { queue, exchange, routing_key: name, bindings: Vec::new(), no_declare: false }
    }
}
