use std::fmt;

use crate::{Map, Value, repr};

/// An error as Celery stores it: `{"exc_type": ..., "exc_message": ..., "exc_module": ...}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// The class, for example `ValueError`; its qualified name when it is nested.
    pub kind: String,
    /// The arguments of the exception as a list; some writers give one string instead.
    pub message: Value,
    /// The module of the class, for example `builtins`.
    pub module: Option<String>,
}

impl Exception {
    /// An exception with one argument, a text.
    pub fn new(kind: impl Into<String>, module: impl Into<String>, text: impl Into<String>) -> Self {
        Exception {
            kind: kind.into(),
            message: Value::List(vec![Value::String(text.into())]),
            module: Some(module.into()),
        }
    }

    /// Reads what a store keeps. An error of a shape that Celery does not write is kept as the argument of a
    /// plain `Exception`, so that a failure never looks like none.
    pub fn from_value(value: &Value) -> Self {
        let fields = value.as_map();
        let Some(kind) = fields.and_then(|fields| fields.get("exc_type")).and_then(Value::as_str) else {
            return Exception {
                kind: "Exception".to_owned(),
                message: Value::List(vec![value.clone()]),
                module: None,
            };
        };
        let field = |name| fields.and_then(|fields| fields.get(name));
        Exception {
            kind: kind.to_owned(),
            message: field("exc_message").cloned().unwrap_or_else(|| "".into()),
            module: field("exc_module").and_then(Value::as_str).map(str::to_owned),
        }
    }

    /// What a store keeps (`prepare_exception`).
    pub fn into_value(self) -> Value {
        let mut fields = Map::with_capacity(3);
        fields.insert("exc_type", self.kind);
        fields.insert("exc_message", self.message);
        fields.insert("exc_module", self.module);
        fields.into()
    }

    /// The arguments of the exception.
    pub fn args(&self) -> &[Value] {
        match &self.message {
            Value::List(args) => args,
            single => std::slice::from_ref(single),
        }
    }

    /// What Python's `str()` gives: the only argument, or a tuple of all of them.
    pub fn text(&self) -> String {
        match self.args() {
            [] => String::new(),
            [Value::String(text)] => text.clone(),
            [single] => repr::value(single),
            many => repr::args(many),
        }
    }

    /// What Python's `repr()` gives, for example `ValueError('x')`.
    pub fn repr(&self) -> String {
        let name = self.kind.rsplit('.').next().unwrap_or_default();
        match self.args() {
            [single] => format!("{name}({})", repr::value(single)),
            args => format!("{name}{}", repr::args(args)),
        }
    }
}

/// As the last line of a traceback: `ValueError: x`.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        if text.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}: {text}", self.kind) }
    }
}

impl std::error::Error for Exception {}
