//! Values by name, as Python's users write them: anything may stand for true, any number for seconds.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use celeriac_protocol::{Map, Value};

use super::ReportError;

/// A dict and its name. What it does not have is `None`: an older Celery knows fewer settings.
pub(super) struct Fields<'a> {
    of: String,
    map: &'a Map,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// When it is none.
    pub fn of(of: &str, value: &'a Value) -> Result<Self, ReportError> {
        let wrong = || ReportError {
            name: of.to_owned(),
            reason: format!("expected a dict, not {}", value.type_name()),
        };
        Ok(Fields::new(of, value.as_map().ok_or_else(wrong)?))
    }

    pub fn new(of: &str, map: &'a Map) -> Self {
        Fields { of: of.to_owned(), map }
    }

    /// A dict in it.
    pub fn part(&self, name: &str) -> Result<Fields<'a>, ReportError> {
        Fields::of(name, self.value(name))
    }

    /// All of it, each a dict.
    pub fn parts(&self) -> impl Iterator<Item = (String, Result<Fields<'a>, ReportError>)> {
        self.map.iter().map(|(name, value)| (name.to_owned(), Fields::of(name, value)))
    }

    pub fn value(&self, name: &str) -> &'a Value {
        self.map.get(name).unwrap_or(&Value::Null)
    }

    pub fn truth(&self, name: &str) -> bool {
        self.value(name).is_true()
    }

    pub fn optional_truth(&self, name: &str) -> Option<bool> {
        Some(self.value(name)).filter(|value| !value.is_null()).map(Value::is_true)
    }

    /// Text that is not empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub fn list(&self, name: &str) -> &'a [Value] {
        self.value(name).as_list().unwrap_or_default()
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A whole number, perhaps as text: trailing settings of the command line may be.
    pub fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ReportError> {
        let value = self.value(name);
        if value.is_null() {
            return Ok(None);
        }
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(truth) => Some(i64::from(*truth)),
            Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => Some(*float as i64),
            value => value.as_i64(),
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong(name, format!("{} is no number that fits", shown(value))))
    }

    /// A number of seconds or a `timedelta`.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, ReportError> {
        let value = self.value(name);
        if value.is_null() {
            return Ok(None);
        }
        let seconds = match value {
            Value::String(text) => text.trim().parse().ok(),
            Value::Map(map) => map.get("__seconds__").and_then(Value::as_f64),
            value => value.as_f64(),
        };
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.map(Some).ok_or_else(|| self.wrong(name, format!("{} is no time", shown(value))))
    }

    pub fn wrong(&self, name: &str, reason: impl Display) -> ReportError {
        let name = if self.of == "conf" { name.to_owned() } else { format!("{}: {name}", self.of) };
        ReportError { name, reason: reason.to_string() }
    }

    pub fn into_map(self) -> Map {
        self.map.clone()
    }

    pub fn into_texts(self) -> HashMap<String, String> {
        let text = |(name, value): (&str, &Value)| Some((name.to_owned(), value.as_str()?.to_owned()));
        self.map.iter().filter_map(text).collect()
    }
}

/// A count, if it is one.
pub(super) fn count(number: Option<i64>) -> Option<usize> {
    number.and_then(|number| usize::try_from(number).ok())
}

fn shown(value: &Value) -> String {
    celeriac_protocol::repr::value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_python_s_users_write_them() {
        let delta = Map::from_iter([("__seconds__", Value::Float(1.5))]);
        let map = Map::from_iter([
            ("int", Value::Int(3)),
            ("float", Value::Float(2.5)),
            ("text", "7".into()),
            ("delta", delta.into()),
            ("no", Value::Null),
            ("word", "soon".into()),
            ("less", Value::Int(-1)),
        ]);
        let value = Value::from(map);
        let fields = Fields::of("conf", &value).unwrap();
        for (name, seconds) in [("int", 3.0), ("float", 2.5), ("text", 7.0), ("delta", 1.5)] {
            assert_eq!(fields.seconds(name), Ok(Some(Duration::from_secs_f64(seconds))), "{name}");
        }
        for none in ["no", "absent"] {
            assert_eq!((fields.seconds(none), fields.number::<u16>(none)), (Ok(None), Ok(None)), "{none}");
        }
        assert_eq!((fields.number("int"), fields.number("text")), (Ok(Some(3_u16)), Ok(Some(7_u16))));
        assert!(fields.truth("int") && !fields.truth("absent") && fields.optional_truth("no").is_none());
        for name in ["word", "less"] {
            assert!(fields.seconds(name).is_err() && fields.number::<u16>(name).is_err(), "{name}");
        }
        assert_eq!(fields.seconds("word").unwrap_err().to_string(), "word: 'soon' is no time");
    }
}
