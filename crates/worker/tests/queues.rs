//! Queues that remote control adds and takes away.

use celeriac_broker::{Address, Queue, QueueKind, Topology};
use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Body, State, TaskHeaders, TaskMessage, Value};
use celeriac_worker::{Call, Shutdown, TaskOptions};

use crate::control::client::{Client, ok, rig};
use crate::support::{Rig, eventually, ints, task};

async fn send(rig: &Rig, id: &str, queue: &str) {
    let mut call = Call::new("echo", ints(&[1]));
    call.options.queue = Some(queue.to_owned());
    rig.send(id, call).await;
}

async fn add(client: &mut Client, queue: &str) {
    let answer = client.ask("add_consumer", &[("queue", queue.into())]).await;
    assert_eq!(ok(&answer), format!("add consumer {queue}"));
}

async fn names(client: &mut Client) -> Vec<String> {
    let queues = client.ask("active_queues", &[]).await;
    let name = |queue: &Value| queue.as_map()?.get("name")?.as_str().map(str::to_owned);
    queues.as_list().unwrap().iter().filter_map(name).collect()
}

#[tokio::test]
async fn an_added_queue_is_consumed_also_after_a_loss_and_a_cancelled_one_is_not() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    add(&mut client, "extra").await;
    send(&rig, "a", "extra").await;
    rig.result("a").await;
    rig.transport.sever();
    send(&rig, "b", "extra").await;
    rig.result("b").await;

    let mut client = Client::open(&rig).await;
    let answer = client.ask("cancel_consumer", &[("queue", "extra".into())]).await;
    assert_eq!(ok(&answer), "no longer consuming from extra");
    for id in ["c", "d"] {
        if id == "d" {
            rig.transport.sever();
        }
        send(&rig, id, "extra").await;
        // Once this one is done, the other would be too.
        send(&rig, &format!("{id}-after"), "celery").await;
        rig.result(&format!("{id}-after")).await;
    }
    rig.wait_for_len("extra", 2).await;
    worker.end(Shutdown::Warm).await.unwrap();
}

/// What somebody else makes of the queue, between two steps of the worker.
async fn declare_otherwise(rig: &Rig, queue: &str) {
    let connection = rig.connection().await;
    connection.delete_queue(queue).await.unwrap();
    let other = Queue { max_priority: Some(9), ..Queue::new(queue) };
    let topology = Topology { queues: vec![other], ..Topology::default() };
    connection.declare(&topology).await.unwrap();
}

#[tokio::test]
async fn an_added_queue_that_is_declared_otherwise_is_forgotten_and_nothing_else() {
    for loss in [false, true] {
        let rig = rig();
        let worker = rig.start();
        let mut client = Client::open(&rig).await;
        add(&mut client, "extra").await;
        add(&mut client, "other").await;
        if loss {
            rig.transport.sever();
        }
        declare_otherwise(&rig, "extra").await;
        for queue in ["other", "celery"] {
            send(&rig, queue, queue).await;
            assert_eq!(rig.result(queue).await.state, State::Success);
        }
        if loss {
            client = Client::open(&rig).await;
        }
        assert_eq!(names(&mut client).await, ["celery", "other"], "with a loss: {loss}");
        worker.end(Shutdown::Warm).await.unwrap();
    }
}

#[tokio::test]
async fn a_quorum_queue_brings_counts_for_each_queue() {
    let options = TaskOptions { acks_late: Some(true), ..TaskOptions::default() };
    let stuck = task("stuck", options, |_, _| std::future::pending());
    let mut rig = rig().with(stuck);
    rig.settings.queues.known.push(Queue { kind: QueueKind::Quorum, ..Queue::new("big") }.into());
    rig.settings.consume_from = vec!["celery".to_owned()];
    (rig.settings.concurrency, rig.settings.prefetch_multiplier) = (1, 1);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.send("stuck", Call::new("stuck", Vec::new())).await;
    eventually("the start", || async { (worker.counters.started.value() == 1).then_some(()) }).await;
    // The only place of the session is taken; the new queue has one of its own.
    add(&mut client, "big").await;
    let headers = TaskHeaders::new("echo", "a");
    let message = TaskMessage::new(headers, &Body::default(), Serializer::Json, None).unwrap();
    let connection = rig.connection().await;
    connection.publish(&Address::queue("big"), message.into_message()).await.unwrap();
    eventually("a delivery", || async { (worker.counters.received.value() == 2).then_some(()) }).await;
    worker.end(Shutdown::Cold).await.unwrap();
}
