//! What a program adds to its workers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac::worker::{Arguments, BrokerError, Consumer, Include, Step, async_trait};
use celeriac::{App, Map, Shutdown, Value};
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(60);

/// Writes down what becomes of it.
struct Diary {
    label: &'static str,
    included: bool,
    pages: Arc<Mutex<Vec<String>>>,
}

impl Diary {
    fn write(&self, what: &str) {
        self.pages.lock().unwrap().push(format!("{} {what}", self.label));
    }
}

#[async_trait]
impl Step for Diary {
    fn label(&self) -> &'static str {
        self.label
    }

    fn requires(&self) -> &'static [&'static str] {
        if self.label == "Second" { &["First"] } else { &["Tasks"] }
    }

    fn include(&self, consumer: &Consumer) -> Include {
        assert_eq!(consumer.hostname(), "w1@test");
        Include::when(self.included, "it is not wanted")
    }

    async fn start(&mut self, _: &Arc<Consumer>) -> Result<(), BrokerError> {
        self.write("starts");
        Ok(())
    }

    async fn stop(&mut self) {
        self.write("stops");
    }
}

#[tokio::test]
async fn steps_start_in_the_order_of_their_graph_and_stop_in_reverse() {
    let pages = Arc::<Mutex<Vec<String>>>::default();
    let diary = pages.clone();
    let step = move |label, included| Diary { label, included, pages: diary.clone() };
    let app = App::builder("test").broker("memory://extending-steps").worker(move |worker| {
        worker.step(step("Second", true)).step(step("First", true)).step(step("Third", false))
    });
    let app = app.build().unwrap();
    let graph = app.worker().graph().unwrap();
    assert!(
        graph.contains(r#""Second" -> "First";"#) && graph.contains(r#""Gossip" -> "Mingle";"#),
        "{graph}"
    );
    let mut settings = app.settings().clone();
    settings.hostname = "w1@test".to_owned();
    let worker = app.worker_with(settings);
    let handle = worker.shutdown_handle();
    let running = tokio::spawn(worker.run());
    answer(&app, "ping", Map::new()).await;
    let started = async {
        while pages.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, started).await.unwrap();
    handle.request(Shutdown::Warm);
    running.await.unwrap().unwrap();
    assert_eq!(*pages.lock().unwrap(), ["First starts", "Second starts", "Second stops", "First stops"]);
}

/// The one answer to a command, once there is a worker to give it.
async fn answer(app: &App, command: &str, arguments: Map) -> Value {
    let asking = async {
        loop {
            let control = app.control().reply().timeout(DEADLINE).limit(1);
            if let Some(reply) = control.broadcast(command, arguments.clone()).await.unwrap().pop() {
                return reply.value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap()
}

#[tokio::test]
async fn a_program_has_commands_of_its_own_and_hears_of_the_others() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let say = move |what: &'static str| {
        let told = told.clone();
        move |member: &celeriac::worker::Member| drop(told.send(format!("{what} {}", member.hostname)))
    };
    let app = App::builder("test").broker("memory://extending-commands").worker(move |worker| {
        worker.on_node_join(say("joined")).on_node_leave(say("left")).control_command(
            "sum",
            |_: Arc<Consumer>, mut arguments: Arguments| async move {
                let terms = [arguments.take("x"), arguments.take("y")];
                Ok(Value::from(terms.iter().filter_map(Value::as_i64).sum::<i64>()))
            },
        )
    });
    let app = app.build().unwrap();
    let worker = |name: &str| {
        let mut settings = app.settings().clone();
        settings.hostname = name.to_owned();
        app.worker_with(settings)
    };
    let (first, second) = (worker("w1@test"), worker("w2@test"));
    let (one, two) = (first.shutdown_handle(), second.shutdown_handle());
    let first = tokio::spawn(first.run());
    let sum = answer(&app, "sum", Map::from_iter([("x", Value::Int(2)), ("y", Value::Int(3))])).await;
    assert_eq!(sum, Value::Int(5));
    let second = tokio::spawn(second.run());
    let mut hear = async |what: &str| {
        let waiting = async { while heard.recv().await.unwrap() != what {} };
        tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not heard: {what}"));
    };
    hear("joined w2@test").await;
    two.request(Shutdown::Warm);
    hear("left w2@test").await;
    second.await.unwrap().unwrap();
    one.request(Shutdown::Warm);
    first.await.unwrap().unwrap();
}
