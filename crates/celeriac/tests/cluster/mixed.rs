//! Joining, mingling, leaving and being lost, between Python's workers and ours.

use celeriac_testkit::{Process, Python, Signal, Vhost, eventually, rabbitmq};

use super::{DEADLINE, heard, ours, python, start, theirs};

/// A revoke that both are to know, made while only the first worker is there.
const REVOKE: &str = "app.control.revoke('r1', reply=True, timeout=5, limit=1)";

fn revoked(vhost: &Vhost, node: &str) -> String {
    let script = format!(
        "print(json.dumps(app.control.inspect(destination=['{node}@test'], timeout=20, limit=1).revoked()))"
    );
    python(vhost, &script).trim().to_owned()
}

/// The logical clock of a node; the question itself is made by a client whose clock stands still.
fn clock(vhost: &Vhost, node: &str) -> u64 {
    let script = format!(
        "print(app.control.inspect(destination=['{node}@test'], timeout=20, limit=1).clock()['{node}@test']['clock'])"
    );
    python(vhost, &script).trim().parse().unwrap()
}

/// Has a node hear an event with a clock that is far ahead, so that nobody gets there by counting.
fn set_clock(vhost: &Vhost, node: &str) {
    heard(vhost);
    let script = format!(
        "
from kombu import Producer
with app.connection_for_write() as connection:
    Producer(connection).publish(
        {{'type': 'worker-heartbeat', 'hostname': 'far@test', 'timestamp': 1.0, 'clock': {FAR}, 'utcoffset': 0}},
        exchange='celeryev', routing_key='worker.heartbeat', headers={{'hostname': 'far@test'}})
"
    );
    python(vhost, &script);
    eventually(DEADLINE, "a clock far ahead", || (clock(vhost, node) >= FAR).then_some(()));
}

const FAR: u64 = 1_000_000;

#[test]
fn ours_comes_second() {
    let vhost = rabbitmq().vhost();
    let py = theirs(&vhost, "py", &[]);
    python(&vhost, REVOKE);
    set_clock(&vhost, "py");
    let rs = ours(&vhost, "rs", &[]);
    assert!(rs.log().contains("mingle: sync with 1 nodes"), "{}", rs.log());
    assert!(rs.log().contains("mingle: sync complete"), "{}", rs.log());
    assert_eq!(revoked(&vhost, "rs"), r#"{"rs@test": ["r1"]}"#);
    assert!(clock(&vhost, "rs") >= FAR);
    py.process().wait_for_line("sync with rs@test", DEADLINE);
    py.process().wait_for_line("rs@test joined the party", DEADLINE);
    rs.wait_for_line("py@test joined the party", DEADLINE);
    py.stop();
    rs.wait_for_line("py@test left", DEADLINE);
}

#[test]
fn ours_comes_first() {
    let vhost = rabbitmq().vhost();
    let rs = ours(&vhost, "rs", &[]);
    assert!(rs.log().contains("mingle: all alone"), "{}", rs.log());
    python(&vhost, REVOKE);
    set_clock(&vhost, "rs");
    let py = theirs(&vhost, "py", &[]);
    py.process().wait_for_line("mingle: sync with 1 nodes", DEADLINE);
    rs.wait_for_line("sync with py@test", DEADLINE);
    assert_eq!(revoked(&vhost, "py"), r#"{"py@test": ["r1"]}"#);
    assert!(clock(&vhost, "py") >= FAR);
    rs.wait_for_line("py@test joined the party", DEADLINE);
    py.process().wait_for_line("rs@test joined the party", DEADLINE);
    rs.signal(Signal::TERM);
    py.process().wait_for_line("rs@test left", DEADLINE);
    assert_eq!(rs.wait(DEADLINE).code(), Some(0), "{}", rs.log());
}

#[test]
fn whoever_is_killed_is_missed() {
    let vhost = rabbitmq().vhost();
    let (rs, other) = (ours(&vhost, "rs", &[]), ours(&vhost, "other", &[]));
    let py = theirs(&vhost, "py", &[]);
    // Who was never heard is not missed.
    for name in ["py", "other"] {
        rs.wait_for_line(&format!("{name}@test joined the party"), DEADLINE);
    }
    py.process().wait_for_line("other@test joined the party", DEADLINE);
    other.kill();
    py.process().wait_for_line("missed heartbeat from other@test", DEADLINE);
    rs.wait_for_line("missed heartbeat from other@test", DEADLINE);
    py.process().kill();
    rs.wait_for_line("missed heartbeat from py@test", DEADLINE);
}

/// Locks the mailbox of `rs@test`, as an earlier connection of its own does that the broker has not missed yet.
const LOCK: &str = "
import time
with app.connection_for_write() as connection:
    connection.default_channel.queue_declare('rs@test.celery.pidbox', durable=False, exclusive=True, auto_delete=True)
    print('locked', flush=True)
    time.sleep(3600)
";

#[test]
fn a_locked_mailbox_is_waited_for() {
    let vhost = rabbitmq().vhost();
    let script = format!("from pyapp import app\n{LOCK}");
    let mut command = Python::find().command();
    let lock = Process::start(command.args(["-c", &script]).env("BROKER", vhost.url()));
    lock.wait_for_line("locked", DEADLINE);
    let rs = start(&vhost, "rs", &["control_queue_exclusive=true"]);
    rs.wait_for_line("is already using this process mailbox", DEADLINE);
    lock.kill();
    rs.wait_for_line(" ready.", DEADLINE);
    let ping = "print(json.dumps(app.control.ping(timeout=2, limit=1)))";
    let pong = r#"[{"rs@test": {"ok": "pong"}}]"#;
    eventually(DEADLINE, "an answer", || (python(&vhost, ping).trim() == pong).then_some(()));
    vhost.close_all_connections();
    eventually(DEADLINE, "ready again", || (rs.log().matches(" ready.").count() == 2).then_some(()));
    eventually(DEADLINE, "an answer again", || (python(&vhost, ping).trim() == pong).then_some(()));
}
