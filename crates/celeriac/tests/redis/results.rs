//! Results in a Redis that goes away, and groups of them.

use celeriac::{App, Call, GroupResult, TaskCall, Value};
use celeriac_testkit::{Redis, Signal, eventually, redis};

use super::{DEADLINE, Site};

/// Tasks that are acknowledged early go on, and late ones wait; when Redis is back it has all results.
#[test]
fn results_wait_for_a_redis_that_is_away() {
    let server = Redis::start();
    server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
    let site = Site { broker: redis().fresh_url(), results: server.url(0) };
    // A sender that does not listen: Celery's would wait for Redis.
    let sender = Site { broker: site.broker.clone(), results: "disabled://".to_owned() };
    let early = site.ours("early", &["-c", "2"]);
    let late = site.ours("late", &["-c", "2", "-Q", "late", "task_acks_late=true"]);
    site.python("for queue in 'celery', 'late': assert app.send_task('tasks.add', (1, 1), queue=queue).get(timeout=60) == 2");
    server.kill();
    let script = "print(*[app.send_task('tasks.add', (n, n), queue=queue).id for queue in ('celery', 'late') for n in range(60)])";
    let ids = sender.python(script);
    let done = |log: String| log.matches("succeeded").count();
    eventually(DEADLINE, "the early ones go on", || (done(early.log()) == 61).then_some(()));
    eventually(DEADLINE, "the late ones wait", || {
        late.log().contains("Connection to Redis lost").then_some(())
    });
    assert_eq!(done(late.log()), 1, "{}", late.log());
    server.restart();
    eventually(DEADLINE, "all are done", || (done(late.log()) == 61).then_some(()));
    eventually(DEADLINE, "all are stored", || {
        early.log().contains("results that waited are stored").then_some(())
    });
    let ids = ids.trim();
    let script = format!(
        "print([app.AsyncResult(id).result for id in '{ids}'.split()] == [2 * n for n in range(60)] * 2)"
    );
    assert_eq!(site.python(&script).trim(), "True");
    for worker in [early, late] {
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    }
    assert_eq!(site.redis(&["EXISTS", "unacked"]), "0");
}

/// Groups are saved and restored by either side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_saved_for_python_and_restored_from_it() {
    let site = Site::new();
    let worker = tokio::task::block_in_place(|| site.ours("rs", &[]));
    let app = App::builder("client").broker(&site.broker).result_backend(&site.results).build().unwrap();
    let script = "
from celery import group
result = group(app.signature('tasks.add', (n, n)) for n in range(50)).apply_async()
result.save()
print(result.id)";
    let id = tokio::task::block_in_place(|| site.python(script));
    let group: GroupResult<i64> = app.group_result(id.trim()).await.unwrap().expect("a group");
    assert_eq!(group.join_timeout(DEADLINE).await.unwrap(), (0..50).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(group.completed().await.unwrap(), 50);

    let mut results = Vec::new();
    for n in 0..3i64 {
        let call = TaskCall::<i64>::from(Call::new("tasks.add", vec![Value::from(n), Value::from(1)]));
        results.push(app.send(call).await.unwrap());
    }
    GroupResult::new("ours", results).save(&app).await.unwrap();
    let script =
        "from celery.result import GroupResult\nprint(GroupResult.restore('ours', app=app).get(timeout=60))";
    assert_eq!(tokio::task::block_in_place(|| site.python(script)).trim(), "[1, 2, 3]");
    assert!(app.group_result::<i64>("unknown").await.unwrap().is_none());
    app.close().await;
    worker.signal(Signal::TERM);
    tokio::task::block_in_place(|| assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log()));
}
