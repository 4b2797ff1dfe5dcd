use crate::Map;

/// One value of Celery's data model: what JSON has, and the types that kombu adds to it.
///
/// Dates and numbers that Rust has no exact type for keep the text that they had on the wire, so that a value
/// which passes through is not changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `None`.
    #[default]
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other integer, in decimal digits with an optional sign.
    BigInt(String),
    /// A float; NaN and the infinities are allowed, as in Python's JSON.
    Float(f64),
    /// Text.
    String(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// A list or tuple.
    List(Vec<Value>),
    /// A dict; keys are text, their order is kept.
    Map(Map),
    /// `datetime.datetime` in ISO 8601, with or without an offset.
    DateTime(String),
    /// `datetime.date` in ISO 8601.
    Date(String),
    /// `datetime.time` in ISO 8601.
    Time(String),
    /// `decimal.Decimal` as `str()` prints it.
    Decimal(String),
    /// `uuid.UUID` in hexadecimal, with or without hyphens.
    Uuid(String),
}

impl Value {
    /// Whether Python's `bool(value)` is true: no zero, and nothing empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null | Value::Bool(false) | Value::Int(0) => false,
            Value::Float(number) => *number != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            _ => true,
        }
    }

    /// Whether this is `None`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a string; `None` for any other type.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer that fits 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of an integer or a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dict.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Python's name for the type, for error messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::BigInt(_) => "int",
            Value::Float(_) => "float",
            Value::String(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "dict",
            Value::DateTime(_) => "datetime",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::Decimal(_) => "Decimal",
            Value::Uuid(_) => "UUID",
        }
    }
}

macro_rules! from {
    ($($from:ty => |$name:ident| $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($name: $from) -> Self {
                $value
            }
        })*
    };
}

from! {
    bool => |flag| Value::Bool(flag);
    i32 => |number| Value::Int(number.into());
    u32 => |number| Value::Int(number.into());
    i64 => |number| Value::Int(number);
    u64 => |number| i64::try_from(number).map_or_else(|_| Value::BigInt(number.to_string()), Value::Int);
    f64 => |number| Value::Float(number);
    &str => |text| Value::String(text.to_owned());
    String => |text| Value::String(text);
    Vec<Value> => |items| Value::List(items);
    Map => |map| Value::Map(map);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A value that does not have the shape that was asked for, or a Rust value that Celery's model cannot hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(crate) String);

impl serde::de::Error for ValueError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        ValueError(message.to_string())
    }
}

impl serde::ser::Error for ValueError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        ValueError(message.to_string())
    }
}
