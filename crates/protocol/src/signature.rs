use crate::{Map, Value, ValueError};

/// A call that is described but not yet made (`celery/canvas.py`, `Signature`): what `link`, `chain` and `chord`
/// carry.
///
/// Group, chord and chain signatures are Python dicts with more keys; all of them are kept in `other`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signature {
    /// The task's name.
    pub task: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map,
    /// Options of the call: `queue`, `countdown`, `task_id`, `link`, ...
    pub options: Map,
    /// `group`, `chord`, `chain`, ... for the canvas primitives.
    pub subtask_type: Option<String>,
    /// Whether the result of the task before it is left out of its arguments.
    pub immutable: bool,
    /// Every other key, untouched.
    pub other: Map,
}

impl Signature {
    /// A plain call of `task` with positional arguments.
    pub fn new(task: impl Into<String>, args: Vec<Value>) -> Self {
        Signature { task: task.into(), args, ..Signature::default() }
    }

    /// Reads the dict that Celery sends.
    ///
    /// # Errors
    /// When it is no dict, has no `task`, or its arguments are no list or dict.
    pub fn from_value(value: Value) -> Result<Self, ValueError> {
        let Value::Map(map) = value else {
            return Err(ValueError(format!("a signature must be a dict, not {}", value.type_name())));
        };
        let mut signature = Signature::default();
        let (mut named, mut other) = (false, Vec::new());
        for (key, value) in map {
            match (key.as_ref(), value) {
                ("task", Value::String(task)) => (signature.task, named) = (task, true),
                ("args", Value::List(args)) => signature.args = args,
                ("kwargs", Value::Map(kwargs)) => signature.kwargs = kwargs,
                ("options", Value::Map(options)) => signature.options = options,
                ("subtask_type", Value::String(kind)) => signature.subtask_type = Some(kind),
                ("immutable", Value::Bool(immutable)) => signature.immutable = immutable,
                ("args" | "kwargs" | "options" | "subtask_type" | "immutable", Value::Null) => {}
                ("task" | "args" | "kwargs" | "options" | "subtask_type" | "immutable", value) => {
                    return Err(ValueError(format!("a signature's {key} cannot be {}", value.type_name())));
                }
                (_, value) => other.push((key, value)),
            }
        }
        signature.other = other.into_iter().collect();
        if named { Ok(signature) } else { Err(ValueError("a signature must name its task".to_owned())) }
    }

    /// The dict that Celery reads.
    pub fn into_value(self) -> Value {
        let mut map = Map::with_capacity(6 + self.other.len());
        map.insert("task", self.task);
        map.insert("args", self.args);
        map.insert("kwargs", self.kwargs);
        map.insert("options", self.options);
        map.insert("subtask_type", self.subtask_type);
        map.insert("immutable", self.immutable);
        for (key, value) in self.other {
            map.insert(key, value);
        }
        Value::Map(map)
    }
}
