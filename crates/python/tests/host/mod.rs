//! The zygote, its children and its service, by the app of the Python side's own tests.

mod children;
mod life;
mod service;
mod starting;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use celeriac_protocol::{Map, Value};
use celeriac_python::host::marshal::Writer;
use celeriac_python::host::{
    Answer, Body, Call, Child, Event, Job, Message, StartError, Started, Zygote, find_python,
};
use celeriac_testkit::{TempDir, eventually, workspace_root};

/// No step takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// What must come, or the test fails.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come in time")
}

/// A zygote in a folder of its own, in which its tasks leave notes.
struct Host {
    started: Started,
    dir: TempDir,
}

impl Host {
    async fn start(app: &str, more: &[(&'static str, Value)]) -> Self {
        let dir = TempDir::new();
        let started = start(&dir, app, more).await.unwrap();
        Host { started, dir }
    }

    fn zygote(&self) -> &Zygote {
        &self.started.zygote
    }

    /// A child that can take jobs.
    async fn child(&self) -> Child {
        let child = soon(self.zygote().fork(0)).await.unwrap();
        assert_eq!(soon(child.recv()).await.unwrap(), Message::Up);
        child
    }

    async fn event(&mut self) -> Option<Event> {
        soon(self.started.events.next()).await
    }

    /// Waits for what a task leaves.
    fn note(&self, name: &str) -> String {
        let file = self.dir.path().join(name);
        eventually(PATIENCE, name, || std::fs::read_to_string(&file).ok())
    }
}

fn python() -> PathBuf {
    let own = std::env::var_os("CELERIAC_TEST_PYTHON")
        .map_or_else(|| workspace_root().join(".venv/bin/python"), PathBuf::from);
    find_python(Some(&own)).unwrap()
}

async fn start(dir: &TempDir, app: &str, more: &[(&'static str, Value)]) -> Result<Started, StartError> {
    let argv = ["celery", "-A", app, "worker"].map(Value::from).to_vec();
    let mut options = Map::new();
    options.insert("argv", argv);
    options.insert("app", app);
    options.insert("hostname", "test@here");
    options.insert("loglevel", "INFO");
    options.insert("workdir", dir.path().to_str());
    options.insert("logfile", "log");
    for (name, value) in more {
        options.insert(*name, value.clone());
    }
    let apps = workspace_root().join("python/tests/apps");
    let variables = [
        ("PYTHONPATH", apps.to_str().unwrap()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONWARNINGS", "ignore"),
        ("RESULTS", dir.path().to_str().unwrap()),
    ];
    soon(Zygote::start(&python(), &Value::Map(options), &variables)).await
}

/// A call that a test owns.
struct Task {
    name: String,
    id: String,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Task {
    /// A task of protocol 2; `arguments` are JSON.
    fn new(id: &str, name: &str, arguments: &str) -> Self {
        let request = request(id, name, "");
        Task { name: name.into(), id: id.into(), request, body: format!("[{arguments}, {{}}, {{}}]").into() }
    }

    fn call(&self) -> Call<'_> {
        let body =
            Body::Encoded { bytes: &self.body, content_type: "application/json", content_encoding: "utf-8" };
        Call { name: &self.name, id: &self.id, request: &self.request, body }
    }

    fn job(&self, token: u64) -> Job<'_> {
        Job { token, call: self.call() }
    }
}

/// What Celery's worker makes of the headers and properties of a message.
fn request(id: &str, name: &str, shadow: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.dict().str("id").str(id).str("root_id").str(id).str("task").str(name).str("lang").str("py");
    writer
        .str("retries")
        .int(0)
        .str("shadow")
        .str(shadow)
        .str("correlation_id")
        .str(id)
        .str("reply_to")
        .str("");
    writer.str("properties").dict().str("correlation_id").str(id).str("reply_to").str("").end();
    writer.str("delivery_info").dict().str("exchange").str("").str("routing_key").str("celery");
    writer.str("priority").int(0).str("redelivered").bool(false).end().end();
    writer.finish().unwrap()
}

/// Sends a job, which there is room for.
fn send(child: &Child, task: &Task, token: u64) {
    assert_eq!(child.send(&[task.job(token)]).unwrap(), 1);
}

/// The next `count` answers.
async fn answers(child: &Child, count: usize) -> Vec<Answer> {
    let mut all = Vec::new();
    while all.len() < count {
        match soon(child.recv()).await.unwrap() {
            Message::Done(answers) => all.extend(answers),
            other => panic!("{other:?}"),
        }
    }
    all
}

async fn answer(child: &Child) -> Answer {
    let mut answers = answers(child, 1).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Whether there is such a process, and it has not ended.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

fn until_gone(pid: i32) {
    eventually(PATIENCE, &format!("{pid} is gone"), || (!is_alive(pid)).then_some(()));
}
