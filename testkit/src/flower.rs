//! Flower, the web monitor of Celery clusters.

use std::time::Duration;

use serde_json::Value;

use crate::management::{call, percent_encoded};
use crate::{PYAPP, Process, Python, eventually, free_port};

const START_DEADLINE: Duration = Duration::from_secs(120);

/// A Flower that watches a broker, killed at drop.
#[derive(Debug)]
pub struct Flower {
    process: Process,
    port: u16,
}

impl Flower {
    /// Starts `celery flower` on the app [`PYAPP`] and waits until its API answers.
    ///
    /// # Panics
    /// When it does not within two minutes.
    pub fn start(broker: &str) -> Self {
        let port = free_port();
        let mut command = Python::find().command();
        command.args([
            "-m",
            "celery",
            "-A",
            "pyapp",
            "flower",
            "--address=127.0.0.1",
            "--inspect_timeout=5000",
        ]);
        command.arg(format!("--port={port}")).current_dir(PYAPP);
        command.env("BROKER", broker).env("FLOWER_UNAUTHENTICATED_API", "true");
        let flower = Self { process: Process::start(&command), port };
        eventually(START_DEADLINE, "Flower answers", || {
            assert!(flower.process.exit_status().is_none(), "Flower ended:\n{}", flower.log());
            matches!(call(port, "GET", "workers", None), Ok((200, _))).then_some(())
        });
        flower
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// GET of its API; `path` is what follows `/api/`.
    ///
    /// # Panics
    /// When Flower does not answer.
    pub fn get(&self, path: &str) -> (u16, Value) {
        call(self.port, "GET", path, None)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// POST of its API, with parameters in the query.
    ///
    /// # Panics
    /// When Flower does not answer.
    pub fn post(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        let pairs: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let path = format!("{path}?{}", pairs.join("&"));
        call(self.port, "POST", &path, None)
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }
}
