//! Unchanged Python apps: what Celery's worker makes of them, ours does.
//!
//! Each app is run by both workers with the same words, driven by the same client, and what comes of it is compared.

mod features;
mod forks;
mod frameworks;
mod kills;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{Process, Python, Signal, TempDir, Vhost, cargo_bin, rabbitmq, redis};
use serde_json::Value;

pub const DEADLINE: Duration = Duration::from_secs(120);
/// Marks every process of a worker, whatever becomes of its parents.
pub const MARK: &str = "CELERIAC_TEST_MARK";

/// Whose worker.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Celery,
    Celeriac,
}

/// An app with a broker and a result store of its own.
pub struct Site {
    app: &'static str,
    folder: PathBuf,
    pub files: TempDir,
    pub vhost: Vhost,
    backend: String,
}

impl Site {
    /// Of the app in a folder beside this file.
    pub fn new(folder: &str, app: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosted/apps").join(folder);
        let backend = redis().fresh_url();
        Site { app, folder, files: TempDir::new(), vhost: Vhost::new(rabbitmq()), backend }
    }

    /// A worker that is ready; both are given the same words.
    pub fn worker(&self, kind: Kind, words: &[&str]) -> Process {
        let python = Python::find().command();
        let mut command = match kind {
            Kind::Celery => Python::find().command(),
            Kind::Celeriac => Command::new(cargo_bin("celeriac")),
        };
        match kind {
            Kind::Celery => command.args(["-m", "celery"]),
            Kind::Celeriac => command.arg("--python").arg(python.get_program()),
        };
        command.args(["-A", self.app, "worker", "-l", "info"]).args(words);
        let worker = Process::start(self.environment(&mut command));
        worker.wait_for_line(" ready.", DEADLINE);
        worker
    }

    /// Runs a program of the app's folder, and reads the JSON that it prints.
    pub fn python(&self, words: &[&str]) -> Value {
        let mut command = Python::find().command();
        let client = Process::start(self.environment(command.args(words)));
        let ended = client.wait(DEADLINE);
        assert!(ended.success(), "{words:?}: {ended}\n{}", client.log());
        serde_json::from_str(&client.stdout()).unwrap_or_else(|error| panic!("{error}: {}", client.log()))
    }

    /// What `redis-cli` prints for these words, in the database of the results.
    pub fn redis(&self, words: &[&str]) -> String {
        let database = self.backend.rsplit('/').next().unwrap_or_default();
        redis().cli(&[&["-n", database], words].concat())
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(&self.folder)
            .env("BROKER", self.vhost.url())
            .env("BACKEND", &self.backend)
            .env("FILES", self.files.path())
            .env("C_FORCE_ROOT", "1") // pickle, as root
            .env("TZ", "IST-5:30") // the offset from UTC is no whole number of hours
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(MARK, self.vhost.name())
    }
}

/// Ends a worker in order.
pub fn end(worker: &Process) {
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
}

/// What one worker made of an app must be what the other one did: objects are compared by their keys.
pub fn assert_same(celery: &Value, ours: &Value) {
    let mut told = String::new();
    differences(&mut told, "", celery, ours);
    assert!(told.is_empty(), "Celery's worker and ours differ:\n{told}");
}

fn differences(told: &mut String, place: &str, celery: &Value, ours: &Value) {
    match (celery, ours) {
        (Value::Object(theirs), Value::Object(here)) => {
            for key in theirs.keys().chain(here.keys().filter(|key| !theirs.contains_key(*key))) {
                let side = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
                differences(told, &format!("{place}/{key}"), &side(theirs), &side(here));
            }
        }
        (Value::Array(theirs), Value::Array(here)) if theirs.len() == here.len() => {
            for (at, (theirs, here)) in theirs.iter().zip(here).enumerate() {
                differences(told, &format!("{place}/{at}"), theirs, here);
            }
        }
        _ if celery == ours => {}
        _ => writeln!(told, "{place}\n    Celery: {celery}\n    ours:   {ours}").unwrap(),
    }
}
