//! The command `celeriac`.

mod client;
mod demo;
mod python;
mod redis;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// A worker frees on one thread what it allocated on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Celery's worker, rewritten in Rust.
#[derive(Debug, Parser)]
#[command(name = "celeriac", version, arg_required_else_help = true, after_help = client::HELP)]
struct Cli {
    /// The broker's URL, for `redis`.
    #[arg(short, long, value_name = "URL", global = true, hide = true)]
    broker: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hash and count every file of a folder by tasks: an embedded broker, two worker processes, no server.
    Demo {
        /// The folder; .git folders, symbolic links and other file systems are left out.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Look at a Redis that is used as a broker.
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
    if let Some(code) = client::run(std::env::args_os().collect()) {
        return code;
    }
    let words: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = python::run(&words) {
        return code;
    }
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("celeriac: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Redis { command } => redis::run(&command, cli.broker),
        Command::Demo { folder } => demo::run(&folder),
        Command::DemoWorker { dir, name } => demo::worker::run(&dir, &name),
        Command::DemoPython { dir, python } => demo::python::worker(&dir, &python),
    }
}
