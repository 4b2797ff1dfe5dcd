//! Remote control: requests as recorded, and what Python says of commands and patterns.

use std::collections::BTreeMap;

use celeriac_protocol::control::commands::{COMMANDS, Kind, Type, find};
use celeriac_protocol::control::{self, ControlError, ReplyTo, Request};
use celeriac_protocol::{Map, Value};
use proptest::prelude::*;
use serde::Deserialize;

use crate::python::ask_script;
use crate::values::any_value;
use crate::vectors::bodies;

#[test]
fn requests_are_encoded_as_they_came() {
    let requests = bodies("celery.pidbox");
    assert_eq!(requests.len(), 37);
    for body in requests {
        let request = Request::read(body.clone()).unwrap();
        let again = request.into_value();
        assert_eq!(again, body);
        let keys = |value: &Value| -> Vec<String> {
            value.as_map().unwrap().iter().map(|(key, _)| key.to_owned()).collect()
        };
        assert_eq!(keys(&again), keys(&body));
    }
}

fn request(entries: &[(&'static str, Value)]) -> Result<Request, ControlError> {
    let method = [("method", Value::from("ping"))];
    Request::read(Value::Map(method.into_iter().chain(entries.iter().cloned()).collect()))
}

#[test]
fn what_is_false_is_absent() {
    let plain = request(&[]).unwrap();
    assert_eq!(plain, Request { method: "ping".to_owned(), ..Request::default() });
    let keys = ["arguments", "destination", "pattern", "matcher", "ticket", "reply_to", "unknown"];
    let nothing = [Value::Null, Value::Bool(false), Value::Int(0), Value::from(""), Value::from(Map::new())];
    for key in keys {
        for value in &nothing {
            assert_eq!(request(&[(key, value.clone())]).unwrap(), plain, "{key} {value:?}");
        }
    }
    assert_eq!(request(&[("later", Value::Int(1))]).unwrap(), plain);
}

#[test]
fn what_is_wrong_is_an_error() {
    let exchange = Value::Map(Map::from_iter([("exchange", Value::from("e"))]));
    let number = Value::Map(Map::from_iter([("exchange", Value::from("e")), ("routing_key", Value::Int(1))]));
    for (key, value) in [
        ("method", Value::Int(1)),
        ("arguments", Value::List(vec![Value::Null])),
        ("destination", Value::Int(1)),
        ("destination", Value::List(vec![Value::Int(1)])),
        ("pattern", Value::Int(1)),
        ("matcher", Value::List(vec![Value::Null])),
        ("ticket", Value::Int(1)),
        ("reply_to", Value::from("somewhere")),
        ("reply_to", exchange),
        ("reply_to", number),
    ] {
        assert!(request(&[(key, value.clone())]).is_err(), "{key} {value:?}");
    }
    assert_eq!(Request::read(Value::Map(Map::new())), Err(ControlError::Missing("method")));
    assert_eq!(Request::read(Value::Null), Err(ControlError::NoDict("None")));
}

#[test]
fn a_destination_is_stronger_than_a_pattern() {
    let mut request = Request { method: "ping".to_owned(), ..Request::default() };
    assert!(request.is_for("w1@host"));
    request.pattern = Some("w2*".to_owned());
    assert!(request.is_for("w1@host"), "a pattern means nothing without a matcher");
    request.matcher = Some("glob".to_owned());
    assert!(!request.is_for("w1@host") && request.is_for("w2@host"));
    request.destination = Some(vec!["w1@host".to_owned()]);
    assert!(request.is_for("w1@host") && !request.is_for("w2@host") && !request.is_for("w1@hos"));
    let to_all = Request { destination: Some(Vec::new()), ..Request::default() };
    assert!(to_all.is_for("w1@host"), "an empty destination is none");
}

fn matches(hostname: &str, pattern: &str, matcher: &str) -> bool {
    let request = Request {
        method: "ping".to_owned(),
        pattern: Some(pattern.to_owned()),
        matcher: Some(matcher.to_owned()),
        ..Request::default()
    };
    request.is_for(hostname)
}

#[test]
fn bad_patterns_mean_nobody() {
    for (pattern, matcher) in [
        ("w", "soundex"),
        ("(", "pcre"),
        ("(?=w)w", "pcre"),
        (r"(w)\1", "pcre"),
        (r"\w{1000}{1000}", "pcre"),
        ("((((((w{99}){99}){99}){99}){99}){99})", "pcre"),
        (&"(".repeat(100_000), "pcre"),
        (&"*".repeat(100_000), "glob"),
    ] {
        assert!(!matches("w1@host", pattern, matcher), "{}", &pattern[..10.min(pattern.len())]);
    }
    // Exponential for a backtracking engine.
    assert!(!matches(&"a".repeat(5000), "(a*)*b", "pcre"));
    assert!(!matches(&"a".repeat(5000), &("*a".repeat(1000) + "b"), "glob"));
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(value in any_value(celeriac_protocol::codec::Serializer::Json)) {
        for key in ["method", "arguments", "destination", "pattern", "matcher", "ticket", "reply_to"] {
            if let Ok(read) = request(&[(key, value.clone())]) {
                read.is_for("w1@host");
                let again = format!("{:?}", Request::read(read.clone().into_value()));
                prop_assert_eq!(again, format!("{:?}", Ok::<_, ControlError>(read)));
            }
        }
    }

    #[test]
    fn any_pattern_is_bounded(pattern in ".{0,60}") {
        matches("w1@host", &pattern, "glob");
        matches("w1@host", &pattern, "pcre");
    }
}

#[test]
fn names_are_kombus() {
    assert_eq!(control::exchange("celery"), "celery.pidbox");
    assert_eq!(control::reply_exchange("celery"), "reply.celery.pidbox");
    assert_eq!(control::queue("w1@host", "celery"), "w1@host.celery.pidbox");
    assert_eq!(control::reply_queue("oid", "celery"), "oid.reply.celery.pidbox");
    let reply_to = ReplyTo { exchange: control::reply_exchange("celery"), routing_key: "oid".to_owned() };
    let request = Request { method: "ping".to_owned(), reply_to: Some(reply_to), ..Request::default() };
    assert_eq!(Request::read(request.clone().into_value()), Ok(request));
}

#[derive(Deserialize)]
struct Answer {
    commands: BTreeMap<String, Meta>,
    matches: Vec<bool>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Meta {
    alias: Option<String>,
    r#type: String,
    visible: bool,
    signature: String,
    args: Vec<(String, String)>,
    variadic: Option<String>,
}

/// What may stand in place of a character.
const PIECES: [&str; 20] = [
    "w", "1", "@", "host", "*", "?", "[", "]", "!", "-", "[w-z]", "[!a]", "[]w]", "^", "\\", "&&", ".",
    "[z-a]", "[!z-a]", "[1-1]",
];

#[test]
fn python_agrees() {
    let mut questions: Vec<[String; 3]> = Vec::new();
    let mut seed = 7_usize;
    let mut below = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    for _ in 0..10_000 {
        // Along the hostname, so that many match: mostly its own characters, and pieces in place of some.
        let mut pattern = String::new();
        for character in "w1@host".chars() {
            match below(5) {
                0 => pattern += PIECES[below(PIECES.len())],
                1 => pattern += ["?", "*", "[!a]", "[]1-1w-w@-@h-t]"][below(4)],
                _ => pattern.push(character),
            }
        }
        questions.push(["w1@host".to_owned(), pattern, "glob".to_owned()]);
    }
    for pattern in
        ["w1", "w1@host$", "1@host", r"w\d+@(host|other)", ".*host", "W1@", "(?i)W1@", "(?x)w1 # w2"]
    {
        questions.push(["w1@host".to_owned(), pattern.to_owned(), "pcre".to_owned()]);
    }
    let answer: Answer = ask_script("control.py", &questions);
    let hits = answer.matches.iter().filter(|hit| **hit).count();
    assert!((2_000..8_000).contains(&hits), "{hits} of {}", questions.len());
    for ([hostname, pattern, matcher], expected) in questions.iter().zip(answer.matches) {
        assert_eq!(matches(hostname, pattern, matcher), expected, "{matcher} {pattern}");
    }
    let theirs = COMMANDS.iter().filter(|command| !command.own);
    let ours: BTreeMap<String, Meta> =
        theirs.map(|command| (command.name.to_owned(), meta(command))).collect();
    assert_eq!(ours, answer.commands);
}

fn meta(command: &control::commands::Command) -> Meta {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let kind = |kind| match kind {
        Type::Str => "str",
        Type::Int => "int",
        Type::Float => "float",
        Type::Bool => "strtobool",
    };
    Meta {
        alias: text(command.alias),
        r#type: if command.kind == Kind::Inspect { "inspect" } else { "control" }.to_owned(),
        visible: command.visible,
        signature: command.signature.to_owned(),
        args: command.args.iter().map(|(key, of)| ((*key).to_owned(), kind(*of).to_owned())).collect(),
        variadic: text(command.variadic),
    }
}

#[test]
fn commands_are_found_by_name_and_alias() {
    assert_eq!(find("active").map(|command| command.name), Some("active"));
    assert_eq!(find("dump_active").map(|command| command.name), Some("active"));
    assert_eq!(find("nonsense"), None);
    assert!(COMMANDS.iter().all(|command| command.help.ends_with('.')));
}
