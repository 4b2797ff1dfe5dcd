//! Mingle, gossip, events and remote control by Redis's publish/subscribe.

use std::process::Command;

use celeriac_testkit::{Flower, Process, Signal, eventually, example_bin};
use serde_json::Value;

use super::{DEADLINE, Site};

/// Python's worker and two of ours know each other, whoever comes first, and learn revokes.
#[test]
fn they_know_each_other() {
    let site = Site::new();
    let py = site.theirs("py", &[]);
    site.python("app.control.revoke('r1', reply=True, timeout=5, limit=1)");
    let one = site.ours("one", &[]);
    assert!(one.log().contains("mingle: sync with 1 nodes"), "{}", one.log());
    one.wait_for_line("py@test joined the party", DEADLINE);
    py.process().wait_for_line("one@test joined the party", DEADLINE);
    one.wait_for_line("leading (term 1)", DEADLINE);
    let two = site.ours("two", &[]);
    two.wait_for_line("following one@test", DEADLINE);
    two.wait_for_line("py@test joined the party", DEADLINE);
    one.wait_for_line("two@test joined the party", DEADLINE);
    let revoked = site.python("print(json.dumps(app.control.inspect(timeout=20, limit=3).revoked()))");
    let revoked: Value = serde_json::from_str(&revoked).unwrap();
    for node in ["py@test", "one@test", "two@test"] {
        assert_eq!(revoked[node][0], "r1", "{revoked}");
    }
    // The lead dies without a word: all miss it, and the next one leads.
    one.signal(Signal::KILL);
    two.wait_for_line("leading (term 2)", DEADLINE);
    py.process().wait_for_line("missed heartbeat from one@test", DEADLINE);
    // By now it hears all: before, nobody may have listened to who goes.
    two.wait_for_line("missed heartbeat from one@test", DEADLINE);
    py.stop();
    two.wait_for_line("py@test left", DEADLINE);
    two.signal(Signal::TERM);
    assert_eq!(two.wait(DEADLINE).code(), Some(0), "{}", two.log());
    // What the dead one left goes with the next that looks; what is declared stays.
    let three = site.ours("three", &[]);
    eventually(DEADLINE, "only one is there", || {
        (site.redis(&["ZCARD", "celeriac.owners"]) == "1").then_some(())
    });
    three.signal(Signal::TERM);
    assert_eq!(three.wait(DEADLINE).code(), Some(0), "{}", three.log());
    let mut left: Vec<_> = site.redis(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    left.retain(|key| {
        !key.starts_with("_kombu.binding") && key != "celeriac.swept" && key != "celeriac.aired"
    });
    left.sort();
    assert_eq!(left, ["celeriac.bound.celery", "celeriac.exchanges", "celeriac.queues"]);
    assert_eq!(site.redis(&["HKEYS", "celeriac.queues"]), "celery");
}

/// Celery's monitors see our events, by the fanout exchange that Celery has on Redis.
#[test]
fn events_reach_celery() {
    let site = Site::new();
    let worker = site.ours("rs", &["-E"]);
    let script = r#"
import threading
seen = []
def heard(event):
    seen.append(event['type'])
    if event['type'] == 'task-succeeded':
        raise KeyboardInterrupt
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={'*': heard})
    sender = threading.Timer(1, lambda: app.send_task('tasks.add', (1, 2)))
    sender.start()
    try:
        receiver.capture(limit=None, timeout=60, wakeup=True)
    except KeyboardInterrupt:
        pass
    sender.join()
print(sorted({kind for kind in seen if kind.startswith('task-')}))
"#;
    assert_eq!(site.python(script).trim(), "['task-received', 'task-started', 'task-succeeded']");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
}

/// A worker has two sockets, with everything on.
#[test]
fn a_worker_has_two_sockets() {
    let server = celeriac_testkit::Redis::start();
    let site = Site { broker: server.url(0), results: "disabled://".to_owned() };
    let worker = site.ours("rs", &["-E"]);
    worker.wait_for_line("leading (term 1)", DEADLINE);
    eventually(DEADLINE, "two sockets, and that of who asks", || {
        (server.cli(&["CLIENT", "LIST"]).lines().count() == 3).then_some(())
    });
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
}

/// Both command lines reach both workers, to ask and to tell, and Flower shows ours and its tasks.
#[test]
fn all_are_seen_and_told() {
    let server = celeriac_testkit::Redis::start();
    let site = Site { broker: server.url(0), results: server.url(1) };
    let (ours, theirs) = (site.ours("rs", &["-E"]), site.theirs("py", &["-E"]));
    let flower = Flower::start(&site.broker);
    let script = r#"
both = ['py@test', 'rs@test']
def ask(inspect):
    return app.control.inspect(destination=both, timeout=30, limit=2)._request(inspect)
for command in ('ping', 'stats', 'active_queues', 'registered'):
    assert sorted(ask(command)) == both, command
queues = ask('active_queues')
assert [queues[node][0]['name'] for node in both] == ['celery', 'celery'], queues
told = app.control.rate_limit('tasks.add', '20/s', destination=both, reply=True, timeout=30)
assert sorted(node for reply in told for node in reply) == both, told
told = app.control.add_consumer('extra', destination=['rs@test'], reply=True, timeout=30)
assert told == [{'rs@test': {'ok': 'add consumer extra'}}], told
task = app.send_task('tasks.add', (1, 2), queue='extra')
assert task.get(timeout=60) == 3
print(task.id)
"#;
    let id = site.python(script).trim().to_owned();
    eventually(DEADLINE, "the task in Flower", || {
        let task = flower.get(&format!("task/info/{id}")).1;
        (task["state"] == "SUCCESS" && task["worker"] == "rs@test").then_some(())
    });
    eventually(DEADLINE, "the worker in Flower", || {
        let (status, workers) = flower.get("workers?refresh=true");
        (status == 200 && workers["rs@test"]["active_queues"][0]["name"] == "celery").then_some(())
    });
    let hello = |words: &[&str]| {
        let mut command = Command::new(example_bin("hello"));
        let asking = Process::start(command.args(["-b", &site.broker, "-C"]).args(words));
        assert_eq!(asking.wait(DEADLINE).code(), Some(0), "{words:?}: {}", asking.log());
        asking.stdout()
    };
    let both = ["-t", "30", "-d", "rs@test,py@test"];
    let said = hello(&[&["inspect"][..], &both, &["active_queues"]].concat());
    assert!(said.contains("->  rs@test: OK") && said.contains("->  py@test: OK"), "{said}");
    let said = hello(&[&["control"][..], &both, &["rate_limit", "tasks.add", "10/m"]].concat());
    assert_eq!(said.matches("new rate limit set successfully").count(), 2, "{said}");
    theirs.stop();
    ours.signal(Signal::TERM);
    assert_eq!(ours.wait(DEADLINE).code(), Some(0), "{}", ours.log());
}
