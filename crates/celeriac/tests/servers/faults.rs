//! Workers that are killed and brokers that go away: nothing is lost.

use std::collections::HashSet;
use std::time::Duration;

use celeriac::{App, Call, TaskCall};
use celeriac_testkit::{RabbitMq, Signal, TempDir, eventually};

use super::{DEADLINE, worker};

const TASKS: usize = 400;

fn app(broker: &str, backend: &str) -> App {
    App::builder("client").broker(broker).result_backend(backend).build().unwrap()
}

/// Sends tasks of 10 ms that need some seconds in all, and returns their ids.
async fn send(app: &App) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        let call = Call::new("tasks.sleep", vec![0.01.into()]);
        ids.push(app.send_task(call).await.unwrap().id().to_owned());
    }
    ids
}

/// Waits until each has a result.
async fn collect(app: &App, ids: &[String]) {
    let mut done = HashSet::new();
    for id in ids {
        let value: f64 = app.result(id.as_str()).get_timeout(DEADLINE).await.unwrap();
        assert!(value > 0.0);
        done.insert(id);
    }
    assert_eq!(done.len(), TASKS);
}

async fn survives_sigkill(broker: &str, backend: &str) {
    let app = app(broker, backend);
    let ids = send(&app).await;
    let options = ["-c", "2", "task_acks_late=true"];
    for _ in 0..2 {
        let victim = worker(broker, backend, &options);
        victim.wait_for_line("succeeded", DEADLINE);
        victim.signal(Signal::KILL);
        victim.wait(DEADLINE);
    }
    let survivor = worker(broker, backend, &options);
    collect(&app, &ids).await;
    survivor.signal(Signal::TERM);
    assert_eq!(survivor.wait(DEADLINE).code(), Some(0), "{}", survivor.log());
    let connection = app.producer().line().connection().await.unwrap();
    assert_eq!(connection.queue_len("celery").await.unwrap(), 0);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_acks_survive_sigkill_on_amqp() {
    let (vhost, backend) = tokio::task::block_in_place(|| {
        (celeriac_testkit::rabbitmq().vhost(), celeriac_testkit::redis().fresh_url())
    });
    survives_sigkill(&vhost.url(), &backend).await;
    tokio::task::block_in_place(|| drop(vhost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_acks_survive_sigkill_on_sqlite() {
    let dir = TempDir::new();
    let broker = format!("sqlite:{}", dir.path().join("broker.db").display());
    let backend = format!("sqlite:{}", dir.path().join("results.db").display());
    survives_sigkill(&broker, &backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_loses_nothing() {
    let (server, backend) =
        tokio::task::block_in_place(|| (RabbitMq::start(), celeriac_testkit::redis().fresh_url()));
    let app = app(&server.url(), &backend);
    let ids = send(&app).await;
    let worker = worker(&server.url(), &backend, &["-c", "2", "task_acks_late=true"]);
    for restart in ["stop", "kill"] {
        worker.wait_for_line("succeeded", DEADLINE);
        tokio::task::block_in_place(|| {
            if restart == "stop" {
                server.stop()
            } else {
                server.kill()
            }
            let lost = || worker.log().matches("Connection to broker lost").count();
            let expected = if restart == "stop" { 1 } else { 2 };
            eventually(DEADLINE, "the loss", || (lost() == expected).then_some(()));
            server.restart();
            let ready = || worker.log().matches(" ready.").count();
            eventually(DEADLINE, "consuming again", || (ready() == expected + 1).then_some(()));
        });
    }
    collect(&app, &ids).await;
    // The client's own connection was lost too; it opens another.
    let again: i64 = app
        .send(TaskCall::<i64>::from(Call::new("tasks.add", vec![1i64.into(), 2i64.into()])))
        .await
        .unwrap()
        .get_timeout(DEADLINE)
        .await
        .unwrap();
    assert_eq!(again, 3);
    app.close().await;
    tokio::task::block_in_place(|| {
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(Duration::from_secs(60)).code(), Some(0), "{}", worker.log());
        drop(server);
    });
}
