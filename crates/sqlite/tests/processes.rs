//! Several processes on one file. Each test starts its own binary again for the other roles.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use celeriac_broker::{Prefetch, Settlement};
use celeriac_testkit::TempDir;

use crate::support::*;

/// A process is killed while it holds messages, and an exclusive queue.
#[tokio::test]
async fn a_killed_process_gives_back() {
    if let Some(file) = in_role("holder") {
        let connection = connect(&file).await;
        let exclusive = celeriac_broker::Queue { exclusive: true, ..celeriac_broker::Queue::new("own") };
        let topology = celeriac_broker::Topology { queues: vec![exclusive], ..Default::default() };
        connection.declare(&topology).await.unwrap();
        let (_session, mut inbox) = consume(&connection, Prefetch::Session(3), "q").await;
        for _ in 0..3 {
            next(&mut inbox).await;
        }
        println!("\nholding");
        std::future::pending::<()>().await;
    }
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    for number in 0..5 {
        send(&connection, "q", number.to_string()).await;
    }
    let mut command = role("processes::a_killed_process_gives_back", "holder", &file);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"));

    let (session, mut inbox) = consume(&connection, Prefetch::Session(10), "q").await;
    for expected in ["3", "4"] {
        let delivery = next(&mut inbox).await;
        assert_eq!((&delivery.message.body[..], delivery.redelivered), (expected.as_bytes(), false));
    }
    assert_eq!(connection.queue_len("q").await, Ok(0));
    child.kill().unwrap();
    child.wait().unwrap();
    for expected in ["0", "1", "2"] {
        let delivery = next(&mut inbox).await;
        assert_eq!((&delivery.message.body[..], delivery.redelivered), (expected.as_bytes(), true));
    }
    session.settle(&[Settlement::AckThrough(5)]).await.unwrap();
    assert!(connection.queue_len("own").await.is_err(), "its exclusive queue is gone");
    connection.close().await;
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["jobs.db"], "no lock files, no log");
}

/// Two consuming processes share a queue that this one fills; one of them is killed half-way, without losing
/// anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_queue() {
    const COUNT: usize = 20_000;
    if let Some(file) = in_role("sharer") {
        let connection = connect(&file).await;
        let (session, mut inbox) = consume(&connection, Prefetch::Session(50), "q").await;
        loop {
            let delivery = next(&mut inbox).await;
            session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
            let body = String::from_utf8(delivery.message.body.to_vec()).unwrap();
            println!("\ndone {body}");
            if body == "end" {
                connection.close().await;
                return;
            }
        }
    }
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = role("processes::processes_share_a_queue", "sharer", &file);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let publishers: Vec<_> = (0..16)
        .map(|publisher| {
            let connection = connection.clone();
            tokio::spawn(async move {
                for number in (publisher..COUNT).step_by(16) {
                    send(&connection, "q", number.to_string()).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    for _ in &children {
        send(&connection, "q", "end").await;
    }
    let mut seen = HashSet::new();
    let mut shares = Vec::new();
    for mut child in children {
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success(), "{output}");
        let done: Vec<usize> =
            output.lines().filter_map(|line| line.strip_prefix("done ")?.parse().ok()).collect();
        shares.push(done.len());
        for number in done {
            assert!(seen.insert(number), "{number} twice");
        }
    }
    assert_eq!(seen.len(), COUNT);
    assert!(shares.iter().all(|share| *share > 0), "both worked: {shares:?}");
    assert_eq!(connection.queue_len("q").await, Ok(0));
}
