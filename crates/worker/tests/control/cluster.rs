//! What the worker tells of its cluster, and of what that costs.

use std::time::Duration;

use celeriac_protocol::Value;
use celeriac_worker::{Call, GossipMode, Shutdown};
use tokio::time::timeout;

use super::client::{Client, from_json, keys, rig};
use crate::log::Log;
use crate::support::{DEADLINE, eventually, ints};

const ANSWER: [&str; 8] = ["gossip", "lead", "leads", "term", "version", "digest", "watchers", "members"];

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.as_map().and_then(|map| map.get(name)).unwrap_or_else(|| panic!("no {name}: {value:?}"))
}

#[tokio::test]
async fn without_a_lead_each_has_a_roster_of_its_own() {
    for (gossips, gossip) in [(true, Value::from("classic")), (false, Value::Null)] {
        let mut rig = rig();
        (rig.settings.gossip, rig.settings.gossip_mode) = (gossips, GossipMode::Classic);
        let worker = rig.start();
        let answer = Client::open(&rig).await.ask("cluster", &[]).await;
        assert_eq!(keys(&answer), [&ANSWER[..], &["roster"]].concat());
        assert_eq!(field(&answer, "gossip"), &gossip);
        assert_eq!((field(&answer, "lead"), field(&answer, "leads")), (&Value::Null, &false.into()));
        assert_eq!(field(&answer, "members"), &1.into());
        assert_eq!(field(&answer, "roster"), &from_json(r#"["celery@localhost"]"#));
        worker.end(Shutdown::Warm).await.unwrap();
    }
}

#[tokio::test]
async fn the_lead_alone_tells_the_roster() {
    for (first, second) in [("celery@localhost", "w2@test"), ("w2@test", "celery@localhost")] {
        let log = Log::record();
        let mut rig = rig();
        (rig.settings.gossip, rig.settings.heartbeat) = (true, true);
        let mut start = |name: &str| {
            rig.settings.hostname = name.to_owned();
            rig.start()
        };
        let one = start(first);
        eventually("a lead", || async { (log.count("gossip: leading") == 1).then_some(()) }).await;
        let other = start(second);
        rig.settings.hostname = "celery@localhost".to_owned();
        let mut client = Client::open(&rig).await;
        let both = async {
            loop {
                let answer = client.ask_one("cluster").await;
                if field(&answer, "members") == &2.into() {
                    return answer;
                }
            }
        };
        let answer = timeout(DEADLINE, both).await.expect("both in the roster");
        assert_eq!(keys(&answer)[..ANSWER.len()], ANSWER);
        assert_eq!(field(&answer, "gossip"), &"watch".into());
        assert_eq!(field(&answer, "lead"), &first.into());
        let leads = first == "celery@localhost";
        assert_eq!(field(&answer, "leads"), &leads.into());
        assert_eq!(field(&answer, "digest").as_str().map(str::len), Some(16));
        assert_eq!(field(&answer, "watchers").as_list().unwrap()[0], first.into());
        let roster = answer.as_map().unwrap().get("roster");
        assert_eq!(roster, leads.then(|| from_json(r#"["celery@localhost", "w2@test"]"#)).as_ref());
        for worker in [other, one] {
            worker.end(Shutdown::Warm).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_said_is_counted_by_kind() {
    let log = Log::record();
    let mut rig = rig();
    (rig.settings.heartbeat, rig.settings.task_events) = (true, true);
    rig.settings.chatter_interval = Duration::from_millis(100);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    rig.result("a").await;
    client.ask("ping", &[]).await;
    client.ask("ping", &[]).await;
    client.ask("no-such-command", &[]).await;
    // Events of tasks leave a little later.
    let all = async {
        loop {
            let stats = client.ask("stats", &[]).await;
            let counts = field(field(&stats, "celeriac"), "chatter").clone();
            let sent = field(&counts, "sent").as_map().unwrap();
            if sent.get("task-*").is_some() && sent.get("worker-online").is_some() {
                return counts;
            }
        }
    };
    let counts = timeout(DEADLINE, all).await.expect("events to be counted");
    let received = field(&counts, "received");
    assert_eq!(field(received, "control.ping"), &2.into());
    assert_eq!(field(received, "control.unknown"), &1.into());
    let asked = field(received, "control.stats").as_i64().unwrap();
    assert_eq!(field(field(&counts, "sent"), "reply").as_i64(), Some(3 + asked - 1), "but for this one");
    assert!(field(&counts, "since").as_f64().is_some_and(|since| since > 0.0));
    eventually("a line in the log", || async { (log.count("INFO gossip: in the last") > 0).then_some(()) })
        .await;
    worker.end(Shutdown::Warm).await.unwrap();
}
