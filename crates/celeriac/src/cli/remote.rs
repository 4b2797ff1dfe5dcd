//! `status`, `inspect` and `control` (`celery/bin/control.py`).

use celeriac_protocol::control::commands::{COMMANDS, Command, Kind, Type};
use celeriac_protocol::{Map, Value};

use super::args::{Asked, Remote};
use super::console::{Console, clean, plural};
use super::error::Error;
use super::{json, pretty, values};
use crate::App;
use crate::control::{self, Control, Reply};

/// Prints who is online.
///
/// # Errors
/// [`Error::NoNodes`] when nobody answers.
pub(super) async fn status(app: &App, console: Console, asked: Asked) -> Result<(), Error> {
    let is_json = asked.json;
    let replies = ask(asking(app, asked), "ping", Map::new(), |reply| {
        if !is_json {
            pretty::say(console, reply, false);
        }
    })
    .await?;
    let nodes = by_node(replies);
    if is_json {
        console.say(&json::line(&Value::Map(nodes.clone())));
    }
    online(console, &nodes);
    Ok(())
}

/// Sends a command and prints the replies.
///
/// # Errors
/// [`Error::Usage`] when there is no such command, or its arguments make no sense. [`Error::NoNodes`] when nobody
/// answers.
pub(super) async fn run(app: &App, console: Console, kind: Kind, options: Remote) -> Result<(), Error> {
    let Some(name) = options.command.filter(|_| !options.list) else {
        list(console, kind);
        return Ok(());
    };
    let command = find(kind, &name)?;
    let arguments = compile(command, options.arguments)?;
    let is_json = options.asked.json;
    let replies = ask(asking(app, options.asked), &name, arguments, |reply| {
        if !is_json {
            pretty::say(console, reply, true);
        }
    })
    .await?;
    match (kind, is_json) {
        (Kind::Inspect, true) => console.say(&json::line(&Value::Map(by_node(replies)))),
        (Kind::Control, true) => {
            let each = |reply: Reply| Value::Map(Map::from_iter([(reply.node, reply.value)]));
            console.say(&json::line(&Value::List(replies.into_iter().map(each).collect())));
        }
        (Kind::Inspect, false) if !console.quiet => online(console, &by_node(replies)),
        (_, false) => {}
    }
    Ok(())
}

fn asking(app: &App, asked: Asked) -> Control {
    let nodes = asked.destination.map(|nodes| nodes.0).unwrap_or_default();
    app.control().destination(nodes).timeout(asked.timeout).reply()
}

async fn ask(
    control: Control,
    method: &str,
    arguments: Map,
    heard: impl FnMut(&Reply) + Send,
) -> Result<Vec<Reply>, Error> {
    let replies = control.broadcast_with(method, arguments, heard).await?;
    if replies.is_empty() { Err(Error::NoNodes) } else { Ok(replies) }
}

fn by_node(replies: Vec<Reply>) -> Map {
    control::by_node(replies, |warning| eprintln!("{}", clean(&warning)))
}

fn online(console: Console, nodes: &Map) {
    let count = nodes.len() as u64;
    console.say(&format!("\n{count} {} online.", plural(count, "node")));
}

/// A command of this kind, by its name or its older one.
fn find(kind: Kind, name: &str) -> Result<&'static Command, Error> {
    let known = |command: &&Command| command.name == name || command.alias == Some(name);
    commands(kind).find(known).ok_or_else(|| {
        let names: Vec<_> = commands(kind).map(|command| command.name).collect();
        let (kind, names) = (word(kind), names.join(", "));
        Error::Usage(format!("Command {name} not recognized. Available {kind} commands: {names}"))
    })
}

fn commands(kind: Kind) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |command| command.kind == kind && command.visible)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Inspect => "inspect",
        Kind::Control => "control",
    }
}

/// Keyword arguments from those of the command line: first the positional ones, the rest as a list.
fn compile(command: &Command, given: Vec<String>) -> Result<Map, Error> {
    let Command { name, args, signature, variadic, .. } = command;
    if variadic.is_none() && given.len() > args.len() {
        return Err(Error::Usage(format!("Command '{name}' takes arguments: {signature}")));
    }
    let mut given = given.into_iter();
    let mut arguments = Map::new();
    for ((name, kind), text) in args.iter().zip(&mut given) {
        let value = value(*kind, text).map_err(|reason| Error::Usage(format!("{name}: {reason}")))?;
        arguments.insert(*name, value);
    }
    if let Some(rest) = variadic {
        arguments.insert(*rest, given.map(Value::String).collect::<Vec<_>>());
    }
    Ok(arguments)
}

fn value(kind: Type, text: String) -> Result<Value, String> {
    let bad = |what| format!("{text:?} is not {what}");
    match kind {
        Type::Str => Ok(Value::String(text)),
        Type::Int => text.trim().parse().map(Value::Int).map_err(|_| bad("a whole number")),
        Type::Float => text.trim().parse().map(Value::Float).map_err(|_| bad("a number")),
        Type::Bool => values::strtobool(&text).map(Value::Bool),
    }
}

fn list(console: Console, kind: Kind) {
    let heading = match kind {
        Kind::Inspect => "Inspect",
        Kind::Control => "Control",
    };
    console.say(&format!("{heading} Commands:"));
    let rows: Vec<_> = commands(kind)
        .map(|command| (format!("{} {}", command.name, command.signature).trim().to_owned(), command.help))
        .collect();
    // As click lays them out: what is too long for the first column has a line of its own.
    let short = rows.iter().map(|(term, _)| term.len()).filter(|length| *length <= 30).max().unwrap_or(0);
    for (term, help) in rows {
        if term.len() <= short {
            console.say(&format!("  {term:<short$}  {help}"));
        } else {
            console.say(&format!("  {term}\n  {:short$}  {help}", ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(kind: Kind, name: &str, given: &[&str]) -> Result<String, String> {
        let command = find(kind, name).map_err(|error| error.to_string())?;
        let given = given.iter().map(|text| (*text).to_owned()).collect();
        compile(command, given)
            .map(|arguments| json::line(&Value::Map(arguments)))
            .map_err(|error| error.to_string())
    }

    /// What `celery.bin.control._compile_arguments` makes of the same words.
    #[test]
    fn arguments_are_celerys() {
        for (kind, name, given, arguments) in [
            (Kind::Inspect, "ping", &[][..], "{}"),
            (Kind::Inspect, "conf", &["yes"], r#"{"with_defaults": true}"#),
            (Kind::Inspect, "query_task", &["a", "b"], r#"{"ids": ["a", "b"]}"#),
            (Kind::Inspect, "registered", &[], r#"{"taskinfoitems": []}"#),
            (Kind::Inspect, "objgraph", &["Request", "5"], r#"{"type": "Request", "num": 5}"#),
            (Kind::Control, "revoke", &["a"], r#"{"task_id": ["a"]}"#),
            (Kind::Control, "terminate", &["KILL", "a", "b"], r#"{"signal": "KILL", "task_id": ["a", "b"]}"#),
            (
                Kind::Control,
                "time_limit",
                &["t", "1", "2.5"],
                r#"{"task_name": "t", "soft": 1.0, "hard": 2.5}"#,
            ),
            (Kind::Control, "pool_grow", &[], "{}"),
            (Kind::Control, "autoscale", &["4", "2"], r#"{"max": 4, "min": 2}"#),
        ] {
            assert_eq!(compiled(kind, name, given).as_deref(), Ok(arguments), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let ping = compiled(Kind::Control, "ping", &[]).unwrap_err();
        assert!(ping.starts_with("Command ping not recognized. Available control commands: "), "{ping}");
        assert!(ping.contains("add_consumer, autoscale, "), "{ping}");
        assert!(compiled(Kind::Inspect, "hello", &[]).is_err(), "it is not for people");
        for (kind, name, given) in [
            (Kind::Control, "pool_grow", &["many"][..]),
            (Kind::Control, "pool_grow", &["1", "2"]),
            (Kind::Inspect, "conf", &["perhaps"]),
            (Kind::Inspect, "ping", &["x"]),
        ] {
            assert!(compiled(kind, name, given).is_err(), "{name}");
        }
    }
}
