//! Tasks in both directions, on one queue and one Redis.

use celeriac::{App, Call, TaskCall};
use celeriac_testkit::{Signal, eventually};

use super::{DEADLINE, Site};

/// Python sends, ours runs; results, errors, retries and priorities.
#[test]
fn python_sends_and_ours_runs() {
    let site = Site::new();
    let worker = site.ours("rs", &["-c", "1", "--prefetch-multiplier", "1", "task_acks_late=true"]);
    let script = r#"
assert app.send_task('tasks.add', (2, 3)).get(timeout=60) == 5
assert app.send_task('tasks.flaky', (2,)).get(timeout=60) == 2
assert app.send_task('tasks.echo', ('x' * 300_000,)).get(timeout=60) == 'x' * 300_000
assert app.send_task('tasks.add', (1, 1), countdown=0.5).get(timeout=60) == 2
try:
    app.send_task('tasks.fail', ('it broke',)).get(timeout=60)
except ValueError as error:
    assert str(error) == 'it broke', error
else:
    raise AssertionError('it did not fail')
hold = app.send_task('tasks.sleep', (1.5,))
import time
time.sleep(.5)
order = [app.send_task('tasks.echo', (p,), priority=p) for p in (9, 6, 3, 0)]
print(*[result.get(timeout=60) for result in order])
"#;
    assert_eq!(site.python(script).trim(), "9 6 3 0");
    let log = worker.log();
    // Kombu's order: the lowest number is the most urgent.
    let ran: Vec<_> = log
        .lines()
        .filter(|line| line.contains("tasks.echo") && line.contains("succeeded"))
        .filter_map(|line| line.rsplit(": ").next()?.trim().parse::<u8>().ok())
        .collect();
    assert_eq!(ran, [0, 3, 6, 9], "{log}");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    for key in ["unacked", "unacked_index", "celery"] {
        assert_eq!(site.redis(&["EXISTS", key]), "0", "{key}");
    }
    assert_eq!(site.redis(&["ZCARD", "celeriac.owners"]), "0");
}

/// Ours sends, Python runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_sends_and_python_runs() {
    let site = Site::new();
    let worker = tokio::task::block_in_place(|| site.theirs("py", &[]));
    let app = App::builder("client").broker(&site.broker).result_backend(&site.results).build().unwrap();
    for (x, y) in [(1, 2), (3, 4)] {
        let call =
            TaskCall::<i64>::from(Call::new("tasks.add", vec![i64::from(x).into(), i64::from(y).into()]));
        let sum = app.send(call).await.unwrap().get_timeout(DEADLINE).await.unwrap();
        assert_eq!(sum, i64::from(x + y));
    }
    let pong = app.control().inspect().ping().await.unwrap();
    assert!(format!("{pong:?}").contains("py@test"), "{pong:?}");
    app.close().await;
    tokio::task::block_in_place(|| worker.stop());
}

/// Both consume one queue: each task runs once, and each side some.
#[test]
fn both_share_a_queue() {
    let site = Site::new();
    let (ours, theirs) = (site.ours("rs", &[]), site.theirs("py", &[]));
    let script = "
results = [app.send_task('tasks.add', (n, n)) for n in range(300)]
assert [result.get(timeout=100) for result in results] == [2 * n for n in range(300)]
";
    site.python(script);
    let count = |log: String| {
        log.lines().filter(|line| line.contains("tasks.add") && line.contains("succeeded")).count()
    };
    eventually(DEADLINE, "all are told", || {
        let (ours, theirs) = (count(ours.log()), count(theirs.log()));
        (ours + theirs == 300 && ours > 0 && theirs > 0).then_some(())
    });
}

/// A message is taken when somebody can run it, and not while all are busy with what is acknowledged already.
#[test]
fn without_prefetch_nothing_is_taken_ahead() {
    let site = Site::new();
    let busy = site.ours("busy", &["-c", "1", "--disable-prefetch"]);
    let ids = site.python(
        "print(*[app.send_task('tasks.' + name, (value,)).id for name, value in [('sleep', 2), ('echo', 1), ('echo', 2)]])",
    );
    let received = |log: String| log.matches("] received").count();
    eventually(DEADLINE, "it runs, and is acknowledged", || {
        (received(busy.log()) == 1 && site.redis(&["EXISTS", "unacked"]) == "0").then_some(())
    });
    assert_eq!(site.redis(&["LLEN", "celery"]), "2");
    let free = site.ours("free", &["-c", "1", "--disable-prefetch"]);
    let script =
        format!("print([app.AsyncResult(id).get(timeout=60) for id in reversed('{}'.split())])", ids.trim());
    assert_eq!(site.python(&script).trim(), "[2, 1, 2.0]");
    assert_eq!((received(busy.log()), received(free.log())), (1, 2), "{}", busy.log());
    for worker in [busy, free] {
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    }
}
