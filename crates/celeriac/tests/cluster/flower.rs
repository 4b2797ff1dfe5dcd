//! Flower beside a worker of ours.

use celeriac_testkit::{Flower, eventually, rabbitmq};
use serde_json::Value;

use super::{DEADLINE, ours, python};

const WORKER: &str = "w1@test";

fn worker(flower: &Flower) -> Option<Value> {
    let (status, workers) = flower.get("workers?refresh=true");
    (status == 200).then(|| workers.get(WORKER).cloned()).flatten()
}

fn says(flower: &Flower, path: &str, parameters: &[(&str, &str)]) {
    let (status, answer) = flower.post(path, parameters);
    assert_eq!(status, 200, "{path}: {answer}\n{}", flower.log());
}

#[test]
fn shows_it_and_its_buttons_work() {
    let vhost = rabbitmq().vhost();
    let flower = Flower::start(&vhost.url());
    let process = ours(&vhost, "w1", &["-E"]);

    let stats = eventually(DEADLINE, "the worker in Flower", || {
        let worker = worker(&flower)?;
        (worker["stats"]["pool"]["max-concurrency"] == 2 && worker["active_queues"][0]["name"] == "celery")
            .then_some(worker)
    });
    let tasks = stats["registered"].as_array().cloned().unwrap_or_default();
    assert!(tasks.iter().any(|task| task == "tasks.add"), "{stats}");
    eventually(DEADLINE, "it is online", || {
        (flower.get("workers?status=true").1[WORKER] == true).then_some(())
    });

    let consumes = |queue: &str| vhost.queue(queue).is_some_and(|queue| queue.consumers == 1);
    says(&flower, &format!("worker/queue/add-consumer/{WORKER}"), &[("queue", "extra")]);
    eventually(DEADLINE, "a consumer of extra", || consumes("extra").then_some(()));

    // Tasks in all states that last. `REJECTED` is not among them: Celery ranks it below `STARTED`.
    let send = |script: &str| python(&vhost, &format!("print(app.send_task({script}).id)")).trim().to_owned();
    let is_in = |id: &str, state: &str| {
        eventually(DEADLINE, &format!("{id} in state {state}"), || {
            (flower.get(&format!("task/info/{id}")).1["state"] == state).then_some(())
        });
    };
    is_in(&send("'tasks.add', (1, 2)"), "SUCCESS");
    is_in(&send("'tasks.fail', ('it broke',)"), "FAILURE");
    is_in(&send("'tasks.add', (1, 2), countdown=600"), "RECEIVED");
    let (one, other) = (send("'tasks.sleep', (600,)"), send("'tasks.sleep', (600,)"));
    is_in(&one, "STARTED");
    is_in(&other, "STARTED");
    // Every slot is taken; when it retries, nobody receives it again.
    let retried = send("'tasks.flaky', (1,), queue='extra'");
    is_in(&retried, "RECEIVED");
    says(&flower, &format!("worker/queue/cancel-consumer/{WORKER}"), &[("queue", "extra")]);
    eventually(DEADLINE, "no consumer of extra", || (!consumes("extra")).then_some(()));
    for task in [&one, &other] {
        says(&flower, &format!("task/revoke/{task}"), &[("terminate", "true")]);
        is_in(task, "REVOKED");
    }
    is_in(&retried, "RETRY");

    let rate = [("workername", WORKER), ("ratelimit", "10/m")];
    says(&flower, "task/rate-limit/tasks.add", &rate);
    process.wait_for_line("New rate limit for tasks of type tasks.add: 10/m.", DEADLINE);
    says(&flower, "task/timeout/tasks.add", &[("workername", WORKER), ("soft", "30"), ("hard", "60")]);
    process.wait_for_line("New time limits for tasks of type tasks.add", DEADLINE);

    says(&flower, &format!("worker/pool/grow/{WORKER}"), &[("n", "3")]);
    eventually(DEADLINE, "a pool of 5", || {
        (worker(&flower)?["stats"]["pool"]["max-concurrency"] == 5).then_some(())
    });
    says(&flower, &format!("worker/pool/shrink/{WORKER}"), &[("n", "4")]);
    eventually(DEADLINE, "a pool of 1", || {
        (worker(&flower)?["stats"]["pool"]["max-concurrency"] == 1).then_some(())
    });

    says(&flower, &format!("worker/shutdown/{WORKER}"), &[]);
    assert_eq!(process.wait(DEADLINE).code(), Some(0), "{}", process.log());
    eventually(DEADLINE, "it is offline", || {
        (flower.get("workers?status=true").1[WORKER] != true).then_some(())
    });
}
