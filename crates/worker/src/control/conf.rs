//! The settings, without their secrets (`celery/app/utils.py`).

use std::sync::Arc;

use celeriac_broker::url;
use celeriac_protocol::{Map, Value, repr};

use super::arguments::Arguments;
use super::command::{CommandError, ok};
use crate::consumer::Consumer;

/// What is shown instead of a secret.
const MASK: &str = "********";
/// Settings with one of these in their names are secret (`HIDDEN_SETTINGS`).
const HIDDEN: [&str; 9] =
    ["api", "token", "key", "secret", "pass", "profanities_list", "signature", "database", "beat_dburi"];

pub(super) fn conf(consumer: &Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
    let settings = &consumer.settings;
    let mut shown = shown(&settings.conf);
    if arguments.flag("with_defaults") {
        shown = shown.into_iter().chain(self::shown(&settings.conf_defaults)).collect();
    }
    Ok(shown.into())
}

pub(super) fn report(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let system = rustix::system::uname();
    let store = &consumer.store;
    let results = if store.name() == "disabled" {
        "disabled".to_owned()
    } else {
        url::sanitize(&store.display_url(), MASK)
    };
    let settings = shown(&consumer.settings.conf);
    let settings: Vec<_> =
        settings.iter().map(|(name, value)| format!("{name}: {}", repr::value(value))).collect();
    ok(format!(
        "\nsoftware -> celeriac:{version}\n\
         platform -> system:{system} arch:{arch}\n            kernel version:{kernel} imp:Rust\n\
         loader   -> native tasks\n\
         settings -> transport:{transport} results:{results}\n\n{settings}\n",
        version = env!("CARGO_PKG_VERSION"),
        system = system.sysname().to_string_lossy(),
        arch = system.machine().to_string_lossy(),
        kernel = system.release().to_string_lossy(),
        transport = consumer.transport.name(),
        settings = settings.join("\n"),
    ))
}

fn shown(settings: &Map) -> Map {
    let settings = settings.iter().filter(|(name, _)| !name.starts_with('_'));
    settings.map(|(name, value)| (name.to_owned(), censored(name, value))).collect()
}

fn censored(name: &str, value: &Value) -> Value {
    let lower = name.to_ascii_lowercase();
    match value {
        Value::Map(map) => {
            map.iter().map(|(name, value)| (name.to_owned(), censored(name, value))).collect::<Map>().into()
        }
        _ if is_hidden(&lower) => MASK.into(),
        Value::List(items) => Value::List(items.iter().map(|item| censored(name, item)).collect()),
        Value::String(text) if lower.contains("broker") || lower.contains("backend") => {
            url::sanitize(text, MASK).into()
        }
        value => value.clone(),
    }
}

fn is_hidden(lower: &str) -> bool {
    HIDDEN.iter().any(|hidden| lower.contains(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let nested = Map::from_iter([("password", Value::from("s3cret")), ("user", "me".into())]);
        for (name, value, shown) in [
            (
                "broker_url",
                "amqp://guest:s3cret@h:5672/cap".into(),
                "amqp://guest:********@h:5672/cap".into(),
            ),
            (
                "broker_url",
                "amqp://a:s3cret@h;amqp://b:s3cret@i//".into(),
                "amqp://a:********@h;amqp://b:********@i//".into(),
            ),
            ("result_backend", "redis://:s3cret@h/9".into(), "redis://:********@h/9".into()),
            (
                "result_backend",
                "redis://h?password=s3cret&db=1".into(),
                "redis://h?password=********&db=1".into(),
            ),
            ("result_backend", "redis://h/9".into(), "redis://h/9".into()),
            ("AWS_SECRET", "s3cret".into(), MASK.into()),
            ("security_key", Value::Null, MASK.into()),
            (
                "broker_read_url",
                Value::List(vec!["amqp://a:s3cret@h".into()]),
                Value::List(vec!["amqp://a:********@h".into()]),
            ),
            (
                "broker_transport_options",
                nested.into(),
                Map::from_iter([("password", Value::from(MASK)), ("user", "me".into())]).into(),
            ),
            ("task_acks_late", true.into(), true.into()),
        ] {
            assert_eq!(censored(name, &value), shown, "{name}");
        }
    }
}
