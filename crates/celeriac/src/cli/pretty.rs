//! Replies as Celery's command shows them (`celery/bin/base.py`, `CLIContext.pretty`).

use celeriac_protocol::{Map, Value, repr};

use super::console::{Console, clean};
use super::json;
use crate::control::Reply;

/// Prints who answers, and the answer if it is to be shown.
pub(super) fn say(console: Console, reply: &Reply, show: bool) {
    let (is_ok, text) = pretty(console, &reply.value);
    let node = console.paint(&format!("{}: ", clean(&reply.node)), "1;36");
    let word = if is_ok { console.paint("OK", "1;32") } else { console.paint("ERROR", "1;31") };
    let arrow = if console.quiet { String::new() } else { format!("{} ", console.paint("->", "1;37")) };
    console.say(&format!("{arrow} {node}{word}"));
    if show && !text.is_empty() {
        console.say(&indent(&text));
    }
}

/// Whether the worker did as it was asked, and its answer for people.
fn pretty(console: Console, value: &Value) -> (bool, String) {
    match value {
        Value::List(items) if items.is_empty() => (true, "- empty -".to_owned()),
        Value::List(items) => {
            let star = console.paint("*", "37");
            let lines: Vec<_> = items.iter().map(|item| format!("{star} {}", text(item))).collect();
            (true, lines.join("\n"))
        }
        Value::Map(map) => match (map.get("ok"), map.get("error")) {
            (Some(inner), _) => (true, indent(&pretty(console, inner).1)),
            (None, Some(inner)) => (false, indent(&pretty(console, inner).1)),
            (None, None) => (true, json::pretty(value)),
        },
        other => (true, text(other)),
    }
}

fn indent(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Python's `str` of a value.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text).into_owned(),
        Value::DateTime(text) | Value::Date(text) | Value::Time(text) => clean(text).into_owned(),
        other => python(other),
    }
}

/// Python's `repr` of a value, however deep. Whoever decoded it has bounded its depth.
fn python(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::List(items) => format!("[{}]", joined(items.iter().map(python).collect())),
        Value::Map(map) => format!("{{{}}}", joined(entries(map))),
        scalar => repr::value(scalar),
    }
}

fn entries(map: &Map) -> Vec<String> {
    map.iter().map(|(key, value)| format!("{}: {}", repr::value(&key.into()), python(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Console = Console { colours: false, quiet: false };

    fn map(key: &'static str, value: impl Into<Value>) -> Value {
        Value::Map([(key, value.into())].into_iter().collect())
    }

    #[test]
    fn answers_look_like_celerys() {
        let shown = |value: Value| pretty(PLAIN, &value);
        assert_eq!(shown(map("ok", "pong")), (true, "    pong".to_owned()));
        assert_eq!(shown(map("error", "unknown task")), (false, "    unknown task".to_owned()));
        assert_eq!(shown(Value::List(vec![])), (true, "- empty -".to_owned()));
        let items = vec!["a".into(), map("x", vec![Value::Null, Value::Float(1.0)])];
        assert_eq!(shown(Value::List(items)), (true, "* a\n* {'x': [None, 1.0]}".to_owned()));
        assert_eq!(shown(map("clock", 3)), (true, "{\n    \"clock\": 3\n}".to_owned()));
        assert_eq!(shown(Value::Null), (true, "None".to_owned()));
        assert_eq!(shown(map("ok", "two\nlines")), (true, "    two\n    lines".to_owned()));
    }

    #[test]
    fn no_answer_steers_the_terminal() {
        for value in [Value::from("\x1b[2J"), map("ok", "\x1b]0;x\x07"), Value::List(vec!["\u{9b}2J".into()])]
        {
            let (_, text) = pretty(PLAIN, &value);
            assert!(!text.contains(|char: char| char.is_control()), "{text:?}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = (0..100).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        assert_eq!(text(&deep).len(), 2 * 100 + 4);
    }
}
