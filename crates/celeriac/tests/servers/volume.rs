//! A hundred thousand tasks through each transport, each run exactly once.

use std::sync::Mutex;
use std::time::Duration;

use celeriac::{App, Shutdown};
use celeriac_testkit::TempDir;
use tokio::sync::Notify;

const TASKS: usize = 100_000;

/// What ran, by transport: how often each number came, and how many came in all.
struct Tally {
    runs: Mutex<(Vec<u8>, usize)>,
    full: Notify,
}

static TALLIES: [Tally; 3] =
    [const { Tally { runs: Mutex::new((Vec::new(), 0)), full: Notify::const_new() } }; 3];

#[celeriac::task(name = "volume.count", ignore_result)]
async fn count(transport: usize, number: usize) {
    let tally = &TALLIES[transport];
    let mut runs = tally.runs.lock().unwrap();
    runs.0.resize(TASKS, 0);
    runs.0[number] += 1;
    runs.1 += 1;
    if runs.1 == TASKS {
        tally.full.notify_one();
    }
}

async fn run(transport: usize, broker: &str) {
    let app = App::builder("volume").broker(broker).task(count).config(|config| {
        config.worker_concurrency = Some(8);
        config.worker_prefetch_multiplier = 64;
    });
    let app = app.build().unwrap();
    let worker = app.worker();
    let (shutdown, worker) = (worker.shutdown_handle(), tokio::spawn(worker.run()));
    let senders: Vec<_> = (0..100)
        .map(|sender| {
            let app = app.clone();
            tokio::spawn(async move {
                for number in (sender..TASKS).step_by(100) {
                    app.send(count::new(transport, number)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(600), TALLIES[transport].full.notified()).await.unwrap();
    shutdown.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
    let connection = app.producer().line().connection().await.unwrap();
    assert_eq!(connection.queue_len("celery").await.unwrap(), 0);
    app.close().await;
    let runs = TALLIES[transport].runs.lock().unwrap();
    assert!(runs.0.iter().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_memory() {
    run(0, "memory://volume").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_sqlite() {
    let dir = TempDir::new();
    run(1, &format!("sqlite:{}", dir.path().join("volume.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_amqp() {
    let vhost = tokio::task::block_in_place(|| celeriac_testkit::rabbitmq().vhost());
    run(2, &vhost.url()).await;
    tokio::task::block_in_place(|| drop(vhost));
}
