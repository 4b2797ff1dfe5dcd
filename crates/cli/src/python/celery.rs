//! Commands that the app's own Celery does.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::anyhow;
use celeriac_python::host::find_python;

use super::error::Stop;
use super::parse;

/// What the command `celery` does, by that name, wherever it is installed.
const CELERY: &str = "
import os, sys
sys.argv[0] = 'celery'
sys.path[:1] = [sys.path[0] or os.getcwd()]
from celery.__main__ import main
main()
";

/// Becomes the command `celery` with the same words.
pub fn run(words: &[String], at: usize) -> Result<ExitCode, Stop> {
    let (globals, rest) = words.split_at(at);
    let given = parse::parse(globals).map_err(Stop::Usage)?;
    let python = find_python(given.text("executable").map(Path::new))?;
    eprintln!("celeriac: {:?} is run by the app's own Celery", rest[0]);
    let error = Command::new(&python).args(["-c", CELERY]).args(theirs(globals)).args(rest).exec();
    Err(anyhow!("cannot run {}: {error}", python.display()).into())
}

/// The options that Celery knows, too: all but the interpreter.
fn theirs(globals: &[String]) -> Vec<&String> {
    let mut words = globals.iter();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix("--").map(|name| name.split_once('=').map_or(name, |(name, _)| name)) {
            Some("python" | "executable") => {
                if !word.contains('=') {
                    words.next();
                }
            }
            _ => kept.push(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_not_passed_on() {
        for line in ["--python p -A x", "--python=p -A x", "-A x --executable p"] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(theirs(&words), ["-A", "x"], "{line}");
        }
    }
}
