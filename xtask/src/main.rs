//! The chores of celeriac: `cargo xtask setup | test | check | lint | ci | wheel | bench`.

mod bench;
mod cargo;
mod check;
mod lint;
mod setup;
mod test;
mod wheel;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask setup          install what the tests need: Debian packages (as root) and a Python venv
cargo xtask test [ARGS]    setup, start the servers, then `cargo test --workspace ARGS`
cargo xtask check          formatting, clippy, documentation, lint, the fuzz targets, licences
cargo xtask lint           who may depend on whom, and the length of files
cargo xtask ci             check, then test
cargo xtask wheel          `pip install .` into a fresh venv, and a Python app run from there (--debug builds in debug mode)

CELERIAC_TEST_CELERY=5.7.0 tests with that Celery instead of the pinned one, in a venv of its own.
CELERIAC_TEST_PYTHON=...   tests with that interpreter, which has Celery already.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    match args {
        ["setup"] => setup::setup().map(|_| ExitCode::SUCCESS),
        ["test", args @ ..] => test::test(args),
        ["check"] => check::check().map(|()| ExitCode::SUCCESS),
        ["lint"] => lint::lint().map(|()| ExitCode::SUCCESS),
        ["ci"] => {
            check::check()?;
            test::test(&[])
        }
        ["wheel"] => wheel::wheel(false).map(|()| ExitCode::SUCCESS),
        ["wheel", "--debug"] => wheel::wheel(true).map(|()| ExitCode::SUCCESS),
        ["bench", args @ ..] => bench::bench(args).map(|()| ExitCode::SUCCESS),
        [] | ["help" | "-h" | "--help"] => {
            println!("{USAGE}\n\n{}", bench::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("no such chore: {}\n{USAGE}", args.join(" ")),
    }
}
