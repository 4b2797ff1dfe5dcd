//! The command `celeriac`.

mod client;
mod demo;
mod listed;
mod python;
mod redis;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// A worker frees on one thread what it allocated on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Celery's worker, rewritten in Rust.
#[derive(Debug, Parser)]
#[command(name = "celeriac", version, arg_required_else_help = true)]
#[command(override_usage = "celeriac [-A APP | -b URL] <COMMAND>", after_help = listed::MORE)]
struct Cli {
    /// The Celery app: a module, or module:name.
    #[arg(short = 'A', long)]
    app: Option<String>,
    /// The broker's URL.
    #[arg(short, long, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hash and count every file of a folder by tasks: an embedded broker, two worker processes, no server.
    #[command(display_order = 100)]
    Demo {
        /// The folder; .git folders, caches, symbolic links and other file systems are left out.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Look at a Redis that is used as a broker.
    #[command(display_order = 100)]
    Redis {
        #[command(subcommand)]
        command: redis::Command,
    },
    /// One of the demo's workers.
    #[command(hide = true)]
    DemoWorker {
        /// Where the broker and the result store are.
        dir: PathBuf,
        /// The worker's name.
        name: String,
    },
    /// The demo's worker for Python tasks.
    #[command(hide = true)]
    DemoPython {
        /// Where the app is, the broker and the result store.
        dir: PathBuf,
        /// The interpreter.
        python: String,
    },
}

fn main() -> ExitCode {
    let args = listed::with_help(std::env::args_os().collect());
    if let Some(code) = client::run(&args) {
        return code;
    }
    let words: Vec<_> = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = python::run(&words) {
        return code;
    }
    // As Celery does without a command.
    if let Some(is_version) = python::without_command(&words) {
        let mut command = listed::beside(Cli::command());
        print!("{}", if is_version { command.render_version() } else { command.render_help().to_string() });
        return ExitCode::SUCCESS;
    }
    let args = match with_broker_of_app(&words) {
        Some(Ok(words)) => words.into_iter().map(OsString::from).collect(),
        Some(Err(code)) => return code,
        None => args,
    };
    let matches = listed::beside(Cli::command()).get_matches_from(args);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    run(cli).unwrap_or_else(|error| {
        eprintln!("celeriac: {error:#}");
        ExitCode::FAILURE
    })
}

/// The command line of `redis` with the broker of the app that it names, if it names one and no broker.
fn with_broker_of_app(words: &[String]) -> Option<Result<Vec<String>, ExitCode>> {
    let has_broker = |word: &String| word.starts_with("-b") || word.starts_with("--broker");
    let command = python::from_command(words);
    if command.first().is_none_or(|word| word != "redis") || words.iter().any(has_broker) {
        return None;
    }
    let with = |url| [&["celeriac".to_owned(), "-b".to_owned(), url], command].concat();
    Some(python::broker(words)?.map(with).map_err(|stop| stop.tell()))
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Redis { command } => redis::run(&command, cli.broker),
        Command::Demo { folder } => demo::run(&folder),
        Command::DemoWorker { dir, name } => demo::worker::run(&dir, &name),
        Command::DemoPython { dir, python } => demo::python::worker(&dir, &python),
    }
}
