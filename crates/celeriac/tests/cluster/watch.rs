//! Gossip at linear cost among ours: who leads, who is told what, and what becomes of it when workers die.

use std::collections::BTreeMap;
use std::process::Command;

use celeriac_testkit::{Process, RabbitMq, Signal, Vhost, eventually, example_bin, rabbitmq};
use serde_json::Value;

use super::{DEADLINE, links, ours, python, start};

/// What each of these workers says of its cluster.
pub fn standings(vhost: &Vhost, names: &[&str]) -> BTreeMap<String, Value> {
    let nodes: Vec<_> = names.iter().map(|name| format!("{name}@test")).collect();
    let mut command = Command::new(example_bin("hello"));
    command.args(["-b", &vhost.url(), "inspect", "cluster", "--json", "-t", "10", "-d", &nodes.join(",")]);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Waits until all of these follow the same lead and have the same roster, of this size, and tells the lead's name.
pub fn agree(vhost: &Vhost, names: &[&str], size: usize) -> String {
    eventually(DEADLINE, &format!("{names:?} agree on {size} members"), || {
        let told = standings(vhost, names);
        let pick = |key: &str| -> Vec<_> { told.values().map(|standing| standing[key].clone()).collect() };
        let alike = |key: &str| pick(key).windows(2).all(|pair| pair[0] == pair[1]);
        let agreed = told.len() == names.len()
            && ["lead", "term", "version", "digest", "watchers", "members"].iter().all(|key| alike(key))
            && pick("members").first()? == size
            && told.iter().all(|(node, standing)| standing["leads"] == (standing["lead"] == **node));
        agreed.then(|| pick("lead")[0].as_str().unwrap_or_default().to_owned())
    })
}

/// Waits until all of these know who watches.
pub fn watched_by(vhost: &Vhost, names: &[&str], watchers: &[&str]) {
    eventually(DEADLINE, &format!("{watchers:?} watch"), || {
        let told = standings(vhost, names);
        let all = told.values().all(|standing| standing["watchers"] == serde_json::json!(watchers));
        (all && told.len() == names.len()).then_some(())
    });
}

/// How often a worker has told this.
pub fn told(worker: &Process, what: &str) -> usize {
    worker.log().lines().filter(|line| line.ends_with(what)).count()
}

/// Waits until each of these has told this, and has told it once.
pub fn told_once<'a>(workers: impl IntoIterator<Item = &'a Process>, what: &str) {
    for worker in workers {
        worker.wait_for_line(what, DEADLINE);
        assert_eq!(told(worker, what), 1, "{what}: {}", worker.log());
    }
}

/// Whether it has warned of something that it ignored.
pub fn warns(worker: &Process) -> bool {
    worker.log().lines().any(|line| line.contains("WARN") && line.contains("gossip: ignored"))
}

/// One that leads.
pub fn leading(vhost: &Vhost, name: &str) -> Process {
    let worker = ours(vhost, name, &[]);
    worker.wait_for_line("gossip: leading", DEADLINE);
    worker
}

/// Three that agree; the first leads, the second watches, too.
pub fn three(vhost: &Vhost, options: &[&str]) -> [Process; 3] {
    let workers = ["w1", "w2", "w3"].map(|name| {
        let worker = ours(vhost, name, options);
        assert_eq!(agree(vhost, &[name], name[1..].parse().unwrap()), "w1@test");
        worker
    });
    assert_eq!(agree(vhost, &["w1", "w2", "w3"], 3), "w1@test");
    watched_by(vhost, &["w1", "w2", "w3"], &["w1@test", "w2@test"]);
    workers
}

#[test]
fn three_agree_and_each_tells_once_what_becomes_of_the_others() {
    let vhost = rabbitmq().vhost();
    let [w1, w2, w3] = three(&vhost, &[]);
    let told = standings(&vhost, &["w1", "w2", "w3"]);
    assert!(told.values().all(|standing| standing["gossip"] == "watch"), "{told:?}");
    assert_eq!(told["w1@test"]["roster"], serde_json::json!(["w1@test", "w2@test", "w3@test"]));
    assert_eq!(told["w2@test"]["roster"], Value::Null);
    told_once([&w1], "gossip: leading (term 1)");
    told_once([&w2, &w3], "gossip: following w1@test (term 1)");
    told_once([&w1, &w3], "w2@test joined the party");
    told_once([&w1, &w2], "w3@test joined the party");
    told_once([&w2, &w3], "w1@test joined the party");

    w3.kill();
    for worker in [&w1, &w2] {
        worker.wait_for_line("missed heartbeat from w3@test", DEADLINE);
    }
    assert_eq!(agree(&vhost, &["w1", "w2"], 2), "w1@test");
    // Under the same name it is another; that is told to all after what came before.
    let again = ours(&vhost, "w3", &[]);
    assert_eq!(agree(&vhost, &["w1", "w2", "w3"], 3), "w1@test");
    told_once([&w1, &w2], "missed heartbeat from w3@test");
    for worker in [&w1, &w2] {
        eventually(DEADLINE, "it joins again", || {
            (self::told(worker, "w3@test joined the party") == 2).then_some(())
        });
    }
    again.signal(Signal::TERM);
    told_once([&w1, &w2], "w3@test left");
    assert_eq!(agree(&vhost, &["w1", "w2"], 2), "w1@test");
    assert_eq!(again.wait(DEADLINE).code(), Some(0), "{}", again.log());
    for worker in [&w1, &w2, &again] {
        assert!(!warns(worker), "{}", worker.log());
    }
}

#[test]
fn the_second_leads_when_the_lead_dies_or_goes() {
    let vhost = rabbitmq().vhost();
    let [w1, w2, w3] = three(&vhost, &[]);
    let w4 = ours(&vhost, "w4", &[]);
    agree(&vhost, &["w1", "w2", "w3", "w4"], 4);
    w1.kill();
    w2.wait_for_line("gossip: leading (term 2)", DEADLINE);
    for worker in [&w3, &w4] {
        worker.wait_for_line("gossip: following w2@test (term 2)", DEADLINE);
    }
    assert_eq!(agree(&vhost, &["w2", "w3", "w4"], 3), "w2@test");
    told_once([&w2, &w3, &w4], "missed heartbeat from w1@test");

    w2.signal(Signal::TERM);
    assert_eq!(w2.wait(DEADLINE).code(), Some(0), "{}", w2.log());
    assert_eq!(agree(&vhost, &["w3", "w4"], 2), "w3@test");
    told_once([&w3, &w4], "w2@test left");
    for worker in [&w3, &w4] {
        assert_eq!(worker.log().matches("missed heartbeat").count(), 1, "{}", worker.log());
        assert_eq!(worker.log().matches(" left").count(), 1, "{}", worker.log());
    }
}

#[test]
fn all_watchers_die_at_once() {
    let vhost = rabbitmq().vhost();
    let [w1, w2, w3] = three(&vhost, &[]);
    let w4 = ours(&vhost, "w4", &[]);
    agree(&vhost, &["w1", "w2", "w3", "w4"], 4);
    w1.kill();
    w2.kill();
    let lead = agree(&vhost, &["w3", "w4"], 2);
    assert!(["w3@test", "w4@test"].contains(&lead.as_str()), "{lead}");
    for name in ["w1", "w2"] {
        told_once([&w3, &w4], &format!("missed heartbeat from {name}@test"));
    }
}

#[test]
fn a_loss_of_all_connections_loses_nobody() {
    let server = RabbitMq::start();
    let vhost = server.vhost();
    let workers = three(&vhost, &[]);
    server.kill();
    server.restart();
    for worker in &workers {
        eventually(DEADLINE, "ready again", || (worker.log().matches(" ready.").count() == 2).then_some(()));
    }
    agree(&vhost, &["w1", "w2", "w3"], 3);
    let more = ours(&vhost, "w4", &[]);
    agree(&vhost, &["w1", "w2", "w3", "w4"], 4);
    told_once(&workers, "w4@test joined the party");
    for worker in workers.iter().chain([&more]) {
        assert!(!worker.log().contains("missed heartbeat"), "{}", worker.log());
        assert!(!worker.log().contains("@test left"), "{}", worker.log());
    }
}

#[test]
fn who_says_that_it_goes_while_connections_are_closed_is_told_to_be_back() {
    let vhost = rabbitmq().vhost();
    let workers = three(&vhost, &[]);
    // Two connections and three channels of each; what is not listed yet would not be closed.
    links(&vhost, (6, 9));
    // One after the other: who loses the one that it consumes by first says on the other that it goes offline, as
    // Celery's workers do.
    vhost.close_all_connections();
    for worker in &workers {
        eventually(DEADLINE, "ready again", || (worker.log().matches(" ready.").count() >= 2).then_some(()));
    }
    agree(&vhost, &["w1", "w2", "w3"], 3);
    for worker in &workers {
        assert!(!worker.log().contains("missed heartbeat"), "{}", worker.log());
        for name in ["w1", "w2", "w3"] {
            let (left, joined) = (format!("{name}@test left"), format!("{name}@test joined the party"));
            assert!(told(worker, &left) <= 1, "{name}: {}", worker.log());
            eventually(DEADLINE, "told of its return", || {
                worker.log().split_once(&left).is_none_or(|(_, since)| since.contains(&joined)).then_some(())
            });
        }
    }
}

#[test]
fn many_that_start_at_once_have_one_lead() {
    let vhost = rabbitmq().vhost();
    let names = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"];
    let workers = names.map(|name| start(&vhost, name, &[]));
    for worker in &workers {
        worker.wait_for_line(" ready.", DEADLINE);
    }
    let lead = agree(&vhost, &names, names.len());
    for (worker, own) in workers.iter().zip(names) {
        for name in names.iter().filter(|name| **name != own) {
            told_once([worker], &format!("{name}@test joined the party"));
        }
        assert!(!worker.log().contains("missed heartbeat"), "{lead} leads: {}", worker.log());
    }
}

#[test]
fn heartbeats_by_a_stream() {
    let vhost = rabbitmq().vhost();
    let [w1, w2, w3] = three(&vhost, &["--gossip", "stream"]);
    let stream = rabbitmq().management(&format!("queues/{}/celeriac.heartbeats.celeryev", vhost.name()));
    assert_eq!(stream["type"], "stream", "{stream}");
    // The watchers read it, and nobody else does.
    eventually(DEADLINE, "two readers", || {
        let path = format!("queues/{}/celeriac.heartbeats.celeryev", vhost.name());
        (rabbitmq().management(&path)["consumers"] == 2).then_some(())
    });
    w3.kill();
    for worker in [&w1, &w2] {
        worker.wait_for_line("missed heartbeat from w3@test", DEADLINE);
    }
    assert_eq!(agree(&vhost, &["w1", "w2"], 2), "w1@test");
    // What is replayed to who watches from now on brings nobody back who is gone.
    w1.kill();
    w2.wait_for_line("missed heartbeat from w1@test", DEADLINE);
    let w4 = ours(&vhost, "w4", &["--gossip", "stream"]);
    assert_eq!(agree(&vhost, &["w2", "w4"], 2), "w2@test");
    told_once([&w2], "missed heartbeat from w1@test");
    told_once([&w2], "missed heartbeat from w3@test");
    assert!(!w4.log().contains("w3@test joined"), "{}", w4.log());
}

/// A worker of a user who may not do all.
fn restricted(vhost: &Vhost, name: &str, configure: &str, write: &str) -> Process {
    let url = vhost.user(configure, write, ".*");
    let mut command = Command::new(example_bin("hello"));
    command.args(["-b", &url, "worker", "-l", "debug", "-c", "2", "-n", &format!("{name}@test")]);
    let process = Process::start(&command);
    process.wait_for_line(" ready.", DEADLINE);
    process
}

/// All but the cluster's exchange.
const NOT_THE_CLUSTER: &str = "^(?!celeriac\\.cluster\\.).*$";

#[test]
fn without_the_right_to_the_exchange_gossip_is_classic() {
    let vhost = rabbitmq().vhost();
    let watching = ours(&vhost, "w1", &[]);
    for (name, configure, write, what) in
        [("w2", NOT_THE_CLUSTER, ".*", "declared"), ("w3", ".*", NOT_THE_CLUSTER, "published to")]
    {
        let worker = restricted(&vhost, name, configure, write);
        worker.wait_for_line("classic gossip instead", DEADLINE);
        let line = format!("the exchange celeriac.cluster.celeryev may not be {what}");
        assert_eq!(worker.log().matches(&line).count(), 1, "{}", worker.log());
        worker.wait_for_line("w1@test joined the party", DEADLINE);
        watching.wait_for_line(&format!("{name}@test joined the party"), DEADLINE);
        let ping =
            format!("print(json.dumps(app.control.ping(destination=['{name}@test'], timeout=20, limit=1)))");
        assert_eq!(python(&vhost, &ping).trim(), format!(r#"[{{"{name}@test": {{"ok": "pong"}}}}]"#));
        assert_eq!(standings(&vhost, &[name])[&format!("{name}@test")]["gossip"], "classic");
        assert!(!worker.log().contains("Connection to broker lost"), "{}", worker.log());
        worker.kill();
        told_once([&watching], &format!("missed heartbeat from {name}@test"));
    }
}
