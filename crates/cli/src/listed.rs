//! The commands that `--help` lists and typing errors are compared with, and that read their own words: Celery's.

use std::ffi::OsString;

use clap::Command;

use crate::client;

const WORKER: (&str, &str) = ("worker", "Run the tasks of a Python Celery app");

/// What else there is to say.
pub const MORE: &str = "\
worker takes an app. What asks a broker takes its URL or an app, else CELERY_BROKER_URL counts. Any other command of
Celery's (beat, shell, ...) is run by the app's own Celery: celeriac -A APP COMMAND.";

/// A command line with these commands before its own.
pub fn beside(own: Command) -> Command {
    own.subcommands(
        commands().enumerate().map(|(at, (name, about))| Command::new(name).about(about).display_order(at)),
    )
}

/// `help COMMAND` as `COMMAND --help`, for a command of these.
pub fn with_help(mut args: Vec<OsString>) -> Vec<OsString> {
    let asked = args.get(1).is_some_and(|word| word == "help");
    if asked && args.get(2).is_some_and(|word| commands().any(|(name, _)| word == name)) {
        args.remove(1);
        args.insert(2, "--help".into());
    }
    args
}

fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::once(WORKER).chain(client::COMMANDS)
}
