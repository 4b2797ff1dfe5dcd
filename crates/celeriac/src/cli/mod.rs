//! The command line of a program with tasks: `worker`, `call`, `result`, `purge`, `list`, `status`, `inspect`,
//! `control`, `events` and `graph`, with the options, output and exit codes of Celery's own command.
//!
//! ```no_run
//! #[celeriac::task(name = "tasks.add")]
//! async fn add(x: i64, y: i64) -> i64 {
//!     x + y
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     match celeriac::App::builder("hello").task(add).build() {
//!         Ok(app) => celeriac::cli::main(app),
//!         Err(error) => {
//!             eprintln!("{error}");
//!             std::process::ExitCode::FAILURE
//!         }
//!     }
//! }
//! ```
//!
//! # Broker and result backend
//! `-b` comes before `CELERY_BROKER_URL`, which comes before what the app was built with; so do
//! `--result-backend` and `CELERY_RESULT_BACKEND`.
//!
//! # Signals to a worker
//! - SIGTERM: takes no more tasks and finishes those that run; exit code 0. Further ones are ignored.
//! - SIGINT: the same, with exit code 1. A second one is a cold shutdown.
//! - SIGQUIT: a cold shutdown: after `worker_soft_shutdown_timeout`, running tasks are cancelled; exit code 0. Late
//!   acknowledged ones go back to their queue. One more SIGINT or SIGQUIT ends the timeout, the next the process.
//! - SIGHUP: without a terminal, finishes the running tasks and starts anew with the same command line (the log
//!   file is opened again); on a terminal, the process ends as usual.
//! - SIGUSR1: tells what the worker has done so far; for a Python app also the stacks of what its tasks do.
//!
//! # Exit codes
//! 0 done; 1 failed; 2 bad command line; 69 nobody answered `status`, `inspect` or `control`; 73 the pidfile is held by a live worker.

mod args;
mod banner;
mod call;
mod console;
mod dump;
mod error;
mod events;
mod format;
mod json;
mod level;
mod list;
mod log;
mod logfile;
mod node;
mod overrides;
mod pidfile;
mod pretty;
mod process;
mod purge;
mod remote;
mod result;
mod runtime;
mod screen;
mod settings;
mod signals;
mod unsupported;
mod values;
mod worker;

/// What the command `celeriac` has in common with a program of one's own.
#[doc(hidden)]
pub mod parts {
    pub use super::console::{Console, colours_allowed, plural};
    pub use super::error::Error;
    pub use super::format::Format;
    pub use super::level::{CRITICAL, Level};
    pub use super::log::{Lines, Log, text};
    pub use super::node::file_name;
    pub use super::overrides::{autoscale_keepalive, heartbeat, revokes};
    pub use super::pidfile::Pidfile;
    pub use super::process::{Signals, open_log, restart, say};
    pub use super::runtime::on_one_thread;
    pub use super::signals::{Ended, Ending};
    pub use super::values::umask;
    pub use crate::control::purge;
}

use std::ffi::OsString;
use std::process::ExitCode;

use celeriac_protocol::control::commands::Kind;
use clap::Parser;

use self::args::{Cli, Command};
use self::console::Console;
use self::error::Error;
use crate::App;

/// Runs the command that the program was started with.
pub fn main(app: App) -> ExitCode {
    run(app, std::env::args_os())
}

/// Runs a command. The first argument is the program's name.
///
/// A worker sets the process's tracing subscriber and its signal handling, and returns when it has ended; its tasks
/// may still occupy threads then (a blocking task cannot be stopped), so the program should end too.
pub fn run<Arguments>(app: App, args: Arguments) -> ExitCode
where
    Arguments: IntoIterator,
    Arguments::Item: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    execute(app, cli).unwrap_or_else(|error| {
        eprintln!("Error: {error}");
        if let Some(advice) = error.advice() {
            eprintln!("{advice}");
        }
        ExitCode::from(error.exit_code())
    })
}

fn execute(app: App, cli: Cli) -> Result<ExitCode, Error> {
    let Cli { global, command } = cli;
    if let Some(folder) = &global.workdir {
        std::env::set_current_dir(folder).map_err(|error| Error::file(folder, error))?;
    }
    let console = Console::new(global.no_color, global.quiet);
    let mut config = app.config().clone();
    overrides::global(&mut config, &global)?;
    if let Command::Worker(options) = command {
        return worker::run(&app, config, *options, &global);
    }
    let app = app.with_config(config)?;
    runtime::client()?.block_on(async {
        let done = match command {
            Command::Worker(_) => Ok(()),
            Command::Call(options) => call::run(&app, console, *options).await,
            Command::Result(options) => result::run(&app, console, &options).await,
            Command::Purge(options) => purge::run(&app, console, &options).await,
            Command::List { what: args::List::Bindings } => list::bindings(&app, console).await,
            Command::Status(options) => remote::status(&app, console, options.asked).await,
            Command::Inspect(options) => remote::run(&app, console, Kind::Inspect, options).await,
            Command::Control(options) => remote::run(&app, console, Kind::Control, options).await,
            Command::Events(options) => events::run(&app, console, &options).await,
            Command::Graph { what: args::Graph::Bootsteps } => graph(&app, console),
        };
        app.close().await;
        done
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the steps of a worker and what they require.
fn graph(app: &App, console: Console) -> Result<(), Error> {
    let graph = app.worker().graph().map_err(|error| Error::Usage(error.to_string()))?;
    console.say(graph.trim_end());
    Ok(())
}
