//! The command `celeriac`.

mod client;
mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

/// A worker frees on one thread what it allocated on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Celery's worker, rewritten in Rust.
#[derive(Debug, Parser)]
#[command(name = "celeriac", version, arg_required_else_help = true, after_help = client::HELP)]
struct Cli {
    /// A Python Celery app.
    #[arg(short = 'A', long, value_name = "APP")]
    app: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hash and count every file of a folder by tasks: an embedded broker, two worker processes, no server.
    Demo {
        /// The folder; .git folders, symbolic links and other file systems are left out.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// One of the demo's workers.
    #[command(hide = true)]
    DemoWorker {
        /// Where the broker and the result store are.
        dir: PathBuf,
        /// The worker's name.
        name: String,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

fn main() -> ExitCode {
    if let Some(code) = client::run(std::env::args_os().collect()) {
        return code;
    }
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("celeriac: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Some(Command::Demo { folder }) => demo::run(&folder),
        Some(Command::DemoWorker { dir, name }) => demo::worker::run(&dir, &name),
        Some(Command::Other(words))
            if cli.app.is_none() && words.first().is_none_or(|word| word != "worker") =>
        {
            bail!("there is no command {}; see celeriac --help", words.join(" "))
        }
        Some(Command::Other(_)) | None => bail!(
            "running Python apps is not built yet. A Rust program with tasks is its own worker: see celeriac::cli"
        ),
    }
}
