//! Gossip at linear cost with workers beside that do not know it: Python's, and ours with Celery's gossip.

use celeriac::App;
use celeriac::cluster::Member;
use celeriac_testkit::{CeleryWorker, Process, eventually, rabbitmq};
use serde_json::json;

use super::elections::{elect, ran, wait_for, wins};
use super::watch::{agree, leading, standings, told, told_once, watched_by};
use super::{DEADLINE, ours, python, theirs};

/// The other workers that one of them is to know, by its own words.
fn knows(worker: &Process, others: &[&str]) {
    for other in others {
        worker.wait_for_line(&format!("{other}@test joined the party"), DEADLINE);
    }
}

#[test]
fn two_of_each_know_and_miss_each_other() {
    let vhost = rabbitmq().vhost();
    let [p1, p2] = ["p1", "p2"].map(|name| theirs(&vhost, name, &[]));
    let (w1, w2) = (leading(&vhost, "w1"), ours(&vhost, "w2", &[]));
    assert_eq!(agree(&vhost, &["w1", "w2"], 4), "w1@test");
    knows(&w1, &["p1", "p2", "w2"]);
    knows(&w2, &["p1", "p2", "w1"]);
    knows(p1.process(), &["p2", "w1", "w2"]);
    knows(p2.process(), &["p1", "w1", "w2"]);
    watched_by(&vhost, &["w1", "w2"], &["w1@test", "w2@test"]);

    p1.process().kill();
    for worker in [&w1, &w2, p2.process()] {
        worker.wait_for_line("missed heartbeat from p1@test", DEADLINE);
    }
    w1.kill();
    for worker in [&w2, p2.process()] {
        worker.wait_for_line("missed heartbeat from w1@test", DEADLINE);
    }
    w2.wait_for_line("gossip: leading", DEADLINE);
    assert_eq!(agree(&vhost, &["w2"], 2), "w2@test");
    p2.stop();
    w2.wait_for_line("p2@test left", DEADLINE);
    assert_eq!(agree(&vhost, &["w2"], 1), "w2@test");
    told_once([&w2], "missed heartbeat from p1@test");
    told_once([&w2], "missed heartbeat from w1@test");
    assert_eq!(w2.log().matches("missed heartbeat").count(), 2, "{}", w2.log());
}

#[test]
fn one_of_ours_leads_itself_and_pythons() {
    let vhost = rabbitmq().vhost();
    let p1 = theirs(&vhost, "p1", &[]);
    let rs = ours(&vhost, "rs", &[]);
    assert_eq!(agree(&vhost, &["rs"], 2), "rs@test");
    let p2 = theirs(&vhost, "p2", &[]);
    assert_eq!(agree(&vhost, &["rs"], 3), "rs@test");
    let told = standings(&vhost, &["rs"]);
    assert_eq!(told["rs@test"]["watchers"], json!(["rs@test"]), "{told:?}");
    let mut roster: Vec<_> =
        told["rs@test"]["roster"].as_array().unwrap().iter().map(|name| name.as_str()).collect();
    roster.sort_unstable();
    assert_eq!(roster, [Some("p1@test"), Some("p2@test"), Some("rs@test")]);
    knows(p1.process(), &["rs", "p2"]);
    p2.process().kill();
    told_once([&rs], "missed heartbeat from p2@test");
    p1.process().wait_for_line("missed heartbeat from p2@test", DEADLINE);
    // It is another process of that name, not the one that was missed.
    let _again = theirs(&vhost, "p2", &[]);
    assert_eq!(agree(&vhost, &["rs"], 3), "rs@test");
    assert_eq!(self::told(&rs, "p2@test joined the party"), 2, "{}", rs.log());
    rs.kill();
    p1.process().wait_for_line("missed heartbeat from rs@test", DEADLINE);
}

/// What a node says is revoked.
fn revoked(vhost: &celeriac_testkit::Vhost, node: &str) -> String {
    let inspect = format!("app.control.inspect(destination=['{node}@test'], timeout=20, limit=1)");
    python(vhost, &format!("print(json.dumps(sorted({inspect}.revoked()['{node}@test'])))")).trim().to_owned()
}

/// Revokes at one node alone, as if the others had not been there.
fn revoke(vhost: &celeriac_testkit::Vhost, node: &str, id: &str) {
    let to = format!("destination=['{node}@test'], reply=True, timeout=20, limit=1");
    python(vhost, &format!("assert app.control.revoke('{id}', {to})"));
}

/// Waits until a node knows of just these revokes: an answer may come after it has started.
fn knows_revoked(vhost: &celeriac_testkit::Vhost, node: &str, ids: &str) {
    eventually(DEADLINE, &format!("{node} has heard of {ids}"), || {
        (revoked(vhost, node) == ids).then_some(())
    });
}

#[test]
fn revokes_merge_both_ways() {
    let vhost = rabbitmq().vhost();
    let _p1 = theirs(&vhost, "p1", &[]);
    revoke(&vhost, "p1", "by-python");
    let _w1 = ours(&vhost, "w1", &[]);
    knows_revoked(&vhost, "w1", r#"["by-python"]"#);
    revoke(&vhost, "w1", "by-w1");
    // By the lead, without the others of ours.
    let _w2 = ours(&vhost, "w2", &[]);
    knows_revoked(&vhost, "w2", r#"["by-python", "by-w1"]"#);
    // Python waits for a second only: on a busy machine it has to ask again.
    let p2 = (0..5).map(|_| theirs(&vhost, "p2", &[])).find(|p2| {
        let synced = p2.log().contains("mingle: sync complete");
        if !synced {
            p2.stop();
        }
        synced
    });
    let _p2 = p2.expect("p2 is answered");
    assert_eq!(revoked(&vhost, "p2"), r#"["by-python", "by-w1"]"#);
    // What one of Python's brings is spread among ours.
    revoke(&vhost, "p2", "by-p2");
    let _w3 = ours(&vhost, "w3", &[]);
    for name in ["w1", "w2", "w3"] {
        knows_revoked(&vhost, name, r#"["by-p2", "by-python", "by-w1"]"#);
    }
}

#[test]
fn ours_with_celerys_gossip_are_members() {
    let vhost = rabbitmq().vhost();
    let c1 = ours(&vhost, "c1", &["--gossip", "classic"]);
    let (w1, w2) = (leading(&vhost, "w1"), ours(&vhost, "w2", &[]));
    let c2 = ours(&vhost, "c2", &["--gossip", "classic"]);
    assert_eq!(agree(&vhost, &["w1", "w2"], 4), "w1@test");
    knows(&c1, &["w1", "w2", "c2"]);
    knows(&c2, &["w1", "w2", "c1"]);
    knows(&w1, &["c1", "c2", "w2"]);
    knows(&w2, &["c1", "c2", "w1"]);
    let all = [&w1, &w2, &c1, &c2];
    let rounds = 5;
    for round in 0..rounds {
        elect(&vhost, round);
        all.iter().for_each(|worker| wait_for(worker, round));
        let won: usize = all.iter().map(|worker| wins(&worker.log(), round)).sum();
        assert_eq!(won, 1, "winners of election {round}");
    }
    eventually(DEADLINE, "all actions", || (ran(all) >= rounds).then_some(()));
    assert_eq!(ran(all), rounds, "tasks that ran");
    c2.kill();
    told_once([&w1, &w2, &c1], "missed heartbeat from c2@test");
    w1.kill();
    told_once([&w2, &c1], "missed heartbeat from w1@test");
    assert_eq!(agree(&vhost, &["w2"], 2), "w2@test");
}

#[test]
fn pythons_candidates_win_and_ours_agree() {
    let vhost = rabbitmq().vhost();
    let p1 = theirs(&vhost, "p1", &[]);
    let [w1, w2] = ["w1", "w2"].map(|name| ours(&vhost, name, &[]));
    agree(&vhost, &["w1", "w2"], 3);
    knows(p1.process(), &["w1", "w2"]);
    let rounds = 5;
    for round in 0..rounds {
        elect(&vhost, round);
        [&w1, &w2, p1.process()].iter().for_each(|worker| wait_for(worker, round));
    }
    for round in 0..rounds {
        let won = [&w1, &w2, p1.process()].map(|worker| wins(&worker.log(), round));
        assert_eq!(won, [0, 0, 1], "winners of election {round}");
    }
    let all = [&w1, &w2, p1.process()];
    eventually(DEADLINE, "all actions", || (ran(all) >= rounds).then_some(()));
    assert_eq!(ran(all), rounds, "tasks that ran");
    is_well(&p1);
}

fn is_well(worker: &CeleryWorker) {
    assert_eq!(worker.process().exit_status(), None, "{}", worker.log());
    assert!(!worker.log().contains("Traceback"), "{}", worker.log());
}

/// How often a member tells of itself, and its software.
fn beats(member: &Member) -> (&str, f64, &str) {
    (&member.hostname, member.freq, member.sw_ident.as_deref().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_asks_the_lead_who_is_there() {
    let (vhost, workers, python) = tokio::task::spawn_blocking(|| {
        let vhost = rabbitmq().vhost();
        let p1 = theirs(&vhost, "p1", &[]);
        let w1 = ours(&vhost, "w1", &["--heartbeat-interval", "0.5"]);
        let w2 = ours(&vhost, "w2", &[]);
        agree(&vhost, &["w1", "w2"], 3);
        (vhost, [w1, w2], p1)
    })
    .await
    .unwrap();
    let app = App::builder("client").broker(vhost.url()).build().unwrap();
    let roster = app.cluster().timeout(DEADLINE).members().await.unwrap().unwrap();
    let mut members: Vec<_> = roster.members.iter().map(beats).collect();
    members.sort_by(|one, next| one.0.cmp(next.0));
    assert_eq!(
        members,
        [("p1@test", 2.0, "py-celery"), ("w1@test", 0.5, "celeriac"), ("w2@test", 2.0, "celeriac")]
    );
    let lead = roster.lead().map(|lead| lead.hostname.to_string()).unwrap_or_default();
    let told = tokio::task::spawn_blocking(move || {
        let told = standings(&vhost, &["w1"]);
        (told["w1@test"]["lead"].clone(), vhost)
    });
    let (known, vhost) = told.await.unwrap();
    assert_eq!(known, json!(lead));
    tokio::task::spawn_blocking(move || drop((vhost, workers, python))).await.unwrap();
}
