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

    // Tasks in all states.
    let sent = python(
        &vhost,
        "
ids = {
    'SUCCESS': app.send_task('tasks.add', (1, 2)).id,
    'FAILURE': app.send_task('tasks.fail', ('it broke',)).id,
    'RETRY': app.send_task('tasks.flaky', (10**6,)).id,
    'STARTED': app.send_task('tasks.sleep', (600,)).id,
    'RECEIVED': app.send_task('tasks.add', (1, 2), countdown=600).id,
}
print(json.dumps(ids))
",
    );
    let ids: Value = serde_json::from_str(&sent).unwrap();
    let state = |id: &Value| flower.get(&format!("task/info/{}", id.as_str().unwrap())).1["state"].clone();
    for (expected, id) in ids.as_object().unwrap() {
        // A retry is soon received again.
        let same =
            |seen: &Value| seen == expected || expected == "RETRY" && seen == "STARTED" || seen == "RETRY";
        eventually(DEADLINE, &format!("a task in state {expected}"), || same(&state(id)).then_some(()));
    }

    says(&flower, &format!("task/revoke/{}", ids["STARTED"].as_str().unwrap()), &[("terminate", "true")]);
    eventually(DEADLINE, "the revoked task", || (state(&ids["STARTED"]) == "REVOKED").then_some(()));

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

    says(&flower, &format!("worker/queue/add-consumer/{WORKER}"), &[("queue", "extra")]);
    let consumes = |queue: &str| vhost.queue(queue).is_some_and(|queue| queue.consumers == 1);
    eventually(DEADLINE, "a consumer of extra", || consumes("extra").then_some(()));
    says(&flower, &format!("worker/queue/cancel-consumer/{WORKER}"), &[("queue", "extra")]);
    eventually(DEADLINE, "no consumer of extra", || (!consumes("extra")).then_some(()));

    // What would keep a warm shutdown waiting.
    says(&flower, &format!("task/revoke/{}", ids["RETRY"].as_str().unwrap()), &[("terminate", "true")]);
    says(&flower, &format!("worker/shutdown/{WORKER}"), &[]);
    assert_eq!(process.wait(DEADLINE).code(), Some(0), "{}", process.log());
    eventually(DEADLINE, "it is offline", || {
        (flower.get("workers?status=true").1[WORKER] != true).then_some(())
    });
}
