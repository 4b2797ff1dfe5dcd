//! Celery's commands for whoever has no tasks of their own: they need a broker at most, and no app.

use std::ffi::OsString;
use std::process::ExitCode;

use celeriac::App;

/// The commands, and what `--help` says of them.
pub const COMMANDS: [(&str, &str); 9] = [
    ("status", "Show the workers that are online"),
    ("inspect", "Ask the workers what they know"),
    ("control", "Tell the workers what to do"),
    ("events", "Show events as they happen"),
    ("list", "Get information from the broker"),
    ("call", "Call a task by name and print its id"),
    ("result", "Wait for a task and print what it returned"),
    ("purge", "Erase all messages from task queues"),
    ("graph", "Draw what a worker is made of, for dot; needs no broker"),
];

/// Options before the command whose value is a word of its own.
const VALUED: [&str; 8] =
    ["-A", "--app", "-b", "--broker", "--result-backend", "--workdir", "--loader", "--config"];

/// Runs one of these commands, if the first word that is no option is one.
pub fn run(args: &[OsString]) -> Option<ExitCode> {
    let mut options = Vec::new();
    let mut words = args.iter().skip(1).map(|word| word.to_string_lossy());
    let command = loop {
        let word = words.next()?;
        if !word.starts_with('-') {
            break word;
        }
        if VALUED.contains(&&*word) {
            words.next();
        }
        options.push(word);
    };
    // Of the graphs that Celery draws, one is of the worker.
    let is_celerys = command == "graph" && words.next().is_some_and(|graph| graph == "workers");
    if is_celerys || !COMMANDS.iter().any(|(name, _)| *name == command) {
        return None;
    }
    let given = |short: &str, long: &str| {
        options.iter().any(|option| option.starts_with(short) || option.starts_with(long))
    };
    let broker = given("-b", "--broker") || std::env::var_os("CELERY_BROKER_URL").is_some();
    if given("-A", "--app") && !broker && command != "graph" {
        // Only the app knows its broker.
        return None;
    }
    Some(match App::builder("celeriac").build() {
        Ok(app) => celeriac::cli::run(app, args),
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    })
}
