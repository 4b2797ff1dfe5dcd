//! The values of options (`celery/bin/base.py`, the parameter types).

use std::time::Duration;

use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Map, Value};
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::node;
use crate::{Expires, GossipMode, origin};

/// The pools that Celery's users name, and ours.
pub(super) const POOLS: [&str; 9] =
    ["tokio", "prefork", "processes", "threads", "solo", "eventlet", "gevent", "asyncio", "spawn"];

/// Words with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List(pub Vec<String>);

/// A JSON array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array(pub Vec<Value>);

/// The bounds of `--autoscale`, larger first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Autoscale {
    pub max: usize,
    pub min: usize,
}

/// The modes of `--gossip`.
pub(super) fn gossip() -> impl TypedValueParser<Value = GossipMode> {
    let names = PossibleValuesParser::new(GossipMode::ALL.map(GossipMode::name));
    names.map(|name| GossipMode::from_name(&name).unwrap_or_default())
}

pub(super) fn list(text: &str) -> Result<List, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(List(words.map(str::to_owned).collect()))
}

pub(super) fn node_name(text: &str) -> Result<String, String> {
    node::node_name(text, &origin::host())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds, 0 or more".to_owned())
}

pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    celeriac_protocol::time::parse(text).ok_or_else(|| "expected a time in ISO 8601".to_owned())
}

pub(super) fn expires(text: &str) -> Result<Expires, String> {
    match text.parse::<f64>() {
        Ok(_) => seconds(text).map(Expires::After),
        Err(_) => time(text).map(Expires::At),
    }
}

pub(super) fn json_array(text: &str) -> Result<Array, String> {
    match json(text)? {
        Value::List(items) => Ok(Array(items)),
        _ => Err(format!("{text} was not an array")),
    }
}

pub(super) fn json_object(text: &str) -> Result<Map, String> {
    match json(text)? {
        Value::Map(map) => Ok(map),
        _ => Err(format!("{text} was not an object")),
    }
}

fn json(text: &str) -> Result<Value, String> {
    let json = Serializer::Json;
    let body = EncodedBody {
        content_type: json.content_type().to_owned(),
        content_encoding: json.content_encoding().to_owned(),
        compression: None,
        data: text.to_owned().into(),
    };
    codec::decode(&body, &Accept::default()).map_err(|error| error.to_string())
}

/// Celery's words for true and false (`celery/utils/serialization.py`, `strtobool`).
pub(super) fn strtobool(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Ok(true),
        "false" | "no" | "0" | "off" => Ok(false),
        _ => Err(format!("cannot make true or false of {text:?}")),
    }
}

pub(super) fn autoscale(text: &str) -> Result<Autoscale, String> {
    let bounds: Result<Vec<usize>, _> = text.split(',').map(|bound| bound.trim().parse()).collect();
    match bounds.as_deref() {
        Ok([one]) => Ok(Autoscale { max: *one, min: 0 }),
        Ok([one, other]) => Ok(Autoscale { max: *one.max(other), min: *one.min(other) }),
        _ => Err("expected one or two whole numbers with a comma".to_owned()),
    }
}

/// Octal when it starts with 0 (`celery/platforms.py`, `DaemonContext`).
///
/// # Errors
/// When it is no file mode.
pub fn umask(text: &str) -> Result<u32, String> {
    let base = if text.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(text, base)
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "expected a file mode".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lose_blanks_and_empty_words() {
        assert_eq!(list("a, b,,c,").unwrap().0, ["a", "b", "c"]);
    }

    #[test]
    fn seconds_are_finite_and_not_negative() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["-1", "inf", "nan", "1e300", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn expiry_is_seconds_or_a_time() {
        assert_eq!(expires("10"), Ok(Expires::After(Duration::from_secs(10))));
        assert!(matches!(expires("2030-01-01T00:00:00"), Ok(Expires::At(_))));
        assert!(expires("tomorrow").is_err());
    }

    #[test]
    fn arguments_are_json_of_the_right_shape() {
        assert_eq!(json_array("[1]").unwrap().0, [Value::from(1)]);
        assert_eq!(json_array("{}").unwrap_err(), "{} was not an array");
        assert!(json_object("[").is_err());
        assert!(json_array(&"[".repeat(100_000)).is_err(), "nesting is bounded");
    }

    #[test]
    fn autoscale_takes_its_bounds_in_any_order() {
        assert_eq!(autoscale("3,10"), Ok(Autoscale { max: 10, min: 3 }));
        assert_eq!(autoscale("10,3"), autoscale("3,10"));
        assert_eq!(autoscale("4"), Ok(Autoscale { max: 4, min: 0 }));
        assert!(autoscale("1,2,3").is_err());
    }

    #[test]
    fn a_umask_is_octal_when_it_starts_with_zero() {
        assert_eq!((umask("022"), umask("18")), (Ok(0o22), Ok(18)));
        assert!(umask("09").is_err() && umask("99999").is_err());
    }
}
