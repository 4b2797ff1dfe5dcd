//! Joining, mingling, leaving and being lost, between Python's workers and ours.

use celeriac_testkit::{Signal, rabbitmq};

use super::{DEADLINE, ours, python, theirs};

/// A revoke that both are to know, made while only the first worker is there.
const REVOKE: &str = "app.control.revoke('r1', reply=True, timeout=5, limit=1)";

fn revoked(vhost: &celeriac_testkit::Vhost, node: &str) -> String {
    let script = format!(
        "print(json.dumps(app.control.inspect(destination=['{node}@test'], timeout=20, limit=1).revoked()))"
    );
    python(vhost, &script).trim().to_owned()
}

#[test]
fn ours_comes_second() {
    let vhost = rabbitmq().vhost();
    let py = theirs(&vhost, "py", &[]);
    python(&vhost, REVOKE);
    let rs = ours(&vhost, "rs", &[]);
    assert!(rs.log().contains("mingle: sync with 1 nodes"), "{}", rs.log());
    assert!(rs.log().contains("mingle: sync complete"), "{}", rs.log());
    assert_eq!(revoked(&vhost, "rs"), r#"{"rs@test": ["r1"]}"#);
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
    let py = theirs(&vhost, "py", &[]);
    py.process().wait_for_line("mingle: sync with 1 nodes", DEADLINE);
    rs.wait_for_line("sync with py@test", DEADLINE);
    assert_eq!(revoked(&vhost, "py"), r#"{"py@test": ["r1"]}"#);
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
    rs.wait_for_line("py@test joined the party", DEADLINE);
    py.process().wait_for_line("other@test joined the party", DEADLINE);
    other.kill();
    py.process().wait_for_line("missed heartbeat from other@test", DEADLINE);
    rs.wait_for_line("missed heartbeat from other@test", DEADLINE);
    py.process().kill();
    rs.wait_for_line("missed heartbeat from py@test", DEADLINE);
}
