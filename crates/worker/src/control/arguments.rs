use celeriac_protocol::{Map, Value};

use super::builtin::Builtin;
use super::command::{CommandError, other};

/// How many items of one list are taken.
const ITEMS: usize = 50_000;

/// The keyword arguments of a command.
#[derive(Debug, Clone, Default)]
pub struct Arguments(Map);

impl Arguments {
    pub(super) fn new(arguments: Map) -> Self {
        Arguments(arguments)
    }

    /// Takes an argument out; absent is `None`, as in Python.
    pub fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }

    /// All that were not taken.
    pub fn rest(self) -> Map {
        self.0
    }

    /// Whether an argument is true, as Python sees it.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_true()
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<String, CommandError> {
        self.optional_text(name)?.ok_or_else(|| wrong(name, "str", &Value::Null))
    }

    /// A text, if there is one.
    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, CommandError> {
        match self.take(name) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            found => Err(wrong(name, "str", &found)),
        }
    }

    /// A whole number of at least 0, or 1 when there is none.
    pub(super) fn count(&mut self, name: &str) -> Result<usize, CommandError> {
        Ok(self.optional_count(name)?.unwrap_or(1))
    }

    /// A whole number of at least 0, if there is one.
    pub(super) fn optional_count(&mut self, name: &str) -> Result<Option<usize>, CommandError> {
        match self.take(name) {
            Value::Null => Ok(None),
            Value::Int(number) => usize::try_from(number)
                .map(Some)
                .map_err(|_| CommandError::Value(format!("{name} must not be negative: {number}"))),
            found => Err(CommandError::Argument(format!(
                "'{}' object cannot be interpreted as an integer",
                type_name(&found)
            ))),
        }
    }
}

/// Fits keyword arguments to the parameters of a command, with Python's words where they do not.
pub(super) fn check(builtin: &Builtin, arguments: &Map) -> Result<(), CommandError> {
    let Builtin { name, required, optional, .. } = builtin;
    if arguments.get("state").is_some() {
        return Err(CommandError::Argument(format!("{name}() got multiple values for argument 'state'")));
    }
    if let Some(optional) = optional {
        let unexpected = arguments.iter().find(|(key, _)| !required.contains(key) && !optional.contains(key));
        if let Some((key, _)) = unexpected {
            let text = format!("{name}() got an unexpected keyword argument '{}'", cut(key));
            return Err(CommandError::Argument(text));
        }
    }
    let missing: Vec<_> = required
        .iter()
        .filter(|name| arguments.get(name).is_none())
        .map(|name| format!("'{name}'"))
        .collect();
    let text = match &missing[..] {
        [] => return Ok(()),
        [one] => format!("{name}() missing 1 required positional argument: {one}"),
        [head @ .., last] => {
            let count = missing.len();
            format!("{name}() missing {count} required positional arguments: {} and {last}", head.join(", "))
        }
    };
    Err(CommandError::Argument(text))
}

/// A list's items or the one value, without those past a bound (`celery/utils/functional.py`, `maybe_list`).
pub(super) fn maybe_list(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::List(mut items) => {
            items.truncate(ITEMS);
            items
        }
        value => vec![value],
    }
}

/// An argument of the wrong type.
pub(super) fn wrong(name: &str, wanted: &str, found: &Value) -> CommandError {
    CommandError::Argument(format!("{name} must be {wanted}, not {}", type_name(found)))
}

/// Python's word for a value that has no such attribute.
pub(super) fn no_attribute(found: &Value, attribute: &str) -> CommandError {
    other("AttributeError", format!("'{}' object has no attribute '{attribute}'", type_name(found)))
}

pub(super) fn type_name(value: &Value) -> &'static str {
    if value.is_null() { "NoneType" } else { value.type_name() }
}

/// As much of a text as a log line or an answer repeats.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(1024).map_or(text, |(end, _)| &text[..end])
}
