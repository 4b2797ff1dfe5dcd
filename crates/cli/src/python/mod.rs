//! Python Celery apps: `worker` is ours, every other command is run by the app's own Celery.

mod broker;
mod celery;
mod detach;
mod error;
mod failover;
mod log;
mod options;
mod parse;
mod ready;
mod user;
mod worker;

use std::env;
use std::process::ExitCode;

use error::Stop;

/// Commands that Celery has without an app, too.
const CELERYS: [&str; 8] = ["amqp", "beat", "graph", "logtool", "migrate", "report", "shell", "upgrade"];

/// Runs the command line (without the program's name) if it is for a Python app.
pub fn run(words: &[String]) -> Option<ExitCode> {
    let (at, command) = parse::command(words)?;
    let done = match command {
        "worker" => worker::run(words, at),
        "multi" => Err(Stop::Usage(
            "celeriac has no `multi`: start each worker by itself, with systemd or -D, -n and --pidfile."
                .to_owned(),
        )),
        "demo" | "demo-worker" | "demo-python" | "help" | "redis" => return None,
        other if has_app(&words[..at]) || CELERYS.contains(&other) => celery::run(words, at),
        _ => return None,
    };
    Some(done.unwrap_or_else(|stop| stop.tell()))
}

/// The broker's URL, for a command of ours that is given an app and no broker. None without an app.
pub fn broker(words: &[String]) -> Option<Result<String, Stop>> {
    let (at, _) = parse::command(words)?;
    has_app(&words[..at]).then(|| broker::of(&words[..at]))
}

/// Whether words that name an app and no command ask for the version; `None` for all others.
pub fn without_command(words: &[String]) -> Option<bool> {
    if parse::command(words).is_some() {
        return None;
    }
    let given = parse::parse(words).ok()?;
    given.app.get("app").map(|_| given.flag("version"))
}

/// The words from the command on.
pub fn from_command(words: &[String]) -> &[String] {
    parse::command(words).map_or(&[], |(at, _)| &words[at..])
}

fn has_app(globals: &[String]) -> bool {
    let named = parse::parse(globals).is_ok_and(|given| given.app.get("app").is_some());
    named || ["CELERY_APP", "APP"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}
