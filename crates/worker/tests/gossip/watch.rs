//! Gossip by watchers, among real workers.

use celeriac_broker::{Address, Transport};
use celeriac_cluster::watch::message::{Message as Word, NodeId};
use celeriac_protocol::codec::{self, Serializer};
use celeriac_protocol::{Map, Message, Value};
use celeriac_worker::{EventSettings, GossipMode, Settings};
use tokio::time::{Duration, Instant};

use super::party::{Guest, Party};
use crate::log::Log;
use crate::shim::{Refused, Shim};
use crate::support::eventually;

/// Publishes on the cluster's exchange.
async fn say(party: &Party, key: &str, content_type: &str, body: Vec<u8>) {
    let connection = party.transport.connect().await.unwrap();
    let mut message = EventSettings::default().cluster_message(&Word::Ask { node: NodeId(1) }).unwrap();
    message.properties.content_type = Some(content_type.to_owned());
    message.body = body.into();
    let exchange = EventSettings::default().cluster().exchanges[0].name.clone();
    connection.publish(&Address::exchange(exchange, key), message).await.unwrap();
    connection.close().await;
}

async fn all_see(guests: &[&Guest], size: usize) {
    for guest in guests {
        guest.sees(size).await;
    }
    let digests: Vec<_> = guests.iter().map(|guest| guest.standing().digest).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    let leads = guests.iter().filter(|guest| guest.standing().leads).count();
    assert!(leads <= 1, "{leads} lead");
}

#[tokio::test(start_paused = true)]
async fn each_is_told_once_who_comes_who_goes_and_who_is_lost() {
    let log = Log::record();
    let party = Party::new();
    // The first leads, and the second watches with it.
    let mut a = party.join("a@test").await;
    a.sees(1).await;
    let mut b = party.join("b@test").await;
    b.sees(2).await;
    let mut c = party.join("c@test").await;
    let d = party.join("d@test").await;
    all_see(&[&a, &b, &c, &d], 4).await;
    assert_eq!(a.told().await, ["joined b@test", "joined c@test", "joined d@test"]);
    assert_eq!(b.told().await, ["joined a@test", "joined c@test", "joined d@test"]);
    assert_eq!(c.told().await, ["joined a@test", "joined b@test", "joined d@test"]);
    let standing = c.standing();
    let watchers: Vec<_> = standing.watchers.iter().map(|name| &**name).collect();
    assert_eq!(watchers, ["a@test", "b@test"]);
    assert_eq!(a.consumer.cluster().members().len(), 3);
    // Only those who watch hear the heartbeats.
    let keys = async |key: &str| {
        let bindings = party.bindings().await;
        bindings.into_iter().filter(|(_, bound)| bound == key).count()
    };
    assert_eq!([keys("worker.#").await, keys("watchers").await, keys("lead").await], [2, 2, 1]);
    assert_eq!(keys("all.*").await, 4);

    d.leave().await;
    for guest in [&mut a, &mut b, &mut c] {
        assert_eq!(guest.told().await, ["left d@test"]);
    }
    c.shim.kill().await;
    for guest in [&mut a, &mut b] {
        assert_eq!(guest.told().await, ["lost c@test"]);
    }
    all_see(&[&a, &b], 2).await;
    assert_eq!(log.count("missed heartbeat from c@test"), 2, "{log}");
    assert_eq!(log.count("DEBUG d@test left"), 3, "{log}");
    b.leave().await;
    a.leave().await;
    // What was theirs is gone with them.
    assert_eq!(party.bindings().await, []);
}

#[tokio::test(start_paused = true)]
async fn when_the_watchers_die_another_leads() {
    let log = Log::record();
    let party = Party::new();
    let mut guests = Vec::new();
    for name in ["a@test", "b@test", "c@test", "d@test"] {
        guests.push(party.join(name).await);
    }
    all_see(&guests.iter().collect::<Vec<_>>(), 4).await;
    // Until the lead has named who watches with it.
    eventually("a second", || async { (guests[3].standing().watchers.len() == 2).then_some(()) }).await;
    let standing = guests[3].standing();
    for guest in &mut guests {
        guest.told().await;
    }
    let is_watcher =
        |guest: &Guest| standing.watchers.iter().any(|name| **name == *guest.consumer.hostname());
    let (watchers, mut rest): (Vec<_>, Vec<_>) = guests.into_iter().partition(is_watcher);
    assert_eq!(watchers.len(), 2);
    for guest in &watchers {
        guest.shim.kill().await;
    }
    let mut lost: Vec<_> = standing.watchers.iter().map(|name| format!("lost {name}")).collect();
    lost.sort();
    for guest in &mut rest {
        // Silence, then a heartbeat's time for those who may be alive.
        let mut told = guest.told().await;
        told.extend(guest.told().await);
        told.sort();
        assert_eq!(told, lost);
    }
    all_see(&rest.iter().collect::<Vec<_>>(), 2).await;
    let after = rest[0].standing();
    assert!(after.term > standing.term && rest.iter().any(|guest| guest.standing().leads), "{after:?}");
    assert!(log.count(&format!("INFO gossip: leading (term {})", after.term)) == 1, "{log}");
    assert_eq!(log.count(&format!("gossip: following {} (term", after.lead.unwrap())), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn members_outlive_a_loss_of_the_broker() {
    let party = Party::new();
    let mut a = party.join("a@test").await;
    let mut b = party.join("b@test").await;
    all_see(&[&a, &b], 2).await;
    a.told().await;
    b.told().await;
    party.transport.sever();
    assert_eq!((a.told().await, b.told().await), (vec![], vec![]));
    all_see(&[&a, &b], 2).await;
    assert_ne!(a.standing().leads, b.standing().leads);
    let c = party.join("c@test").await;
    c.sees(3).await;
    assert_eq!(
        (a.told().await, b.told().await),
        (vec!["joined c@test".to_owned()], vec!["joined c@test".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_many_candidates_wins() {
    let party = Party::new();
    let mut guests = Vec::new();
    for name in ["a@test", "b@test", "c@test", "d@test", "e@test"] {
        guests.push(party.join(name).await);
    }
    all_see(&guests.iter().collect::<Vec<_>>(), 5).await;
    for guest in &mut guests {
        guest.told().await;
    }
    for guest in &guests {
        assert!(guest.consumer.cluster().election("e".to_owned(), "mine".to_owned(), Value::Null));
    }
    let mut won = Vec::new();
    for guest in &mut guests {
        won.extend(guest.told().await);
    }
    assert_eq!(won, ["won"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_may_not_use_the_exchange_gossips_as_celerys_do() {
    for refused in [Refused::Declare, Refused::Publish] {
        let log = Log::record();
        let party = Party::new();
        let mut a = party.join("a@test").await;
        a.sees(1).await;
        let shim = Shim::sound(party.transport.clone());
        shim.refuse(refused);
        let mut b = party.join_by("b@test", shim, |settings| settings.mingle = true).await;
        assert_eq!(b.consumer.cluster().standing(), None);
        assert_eq!(a.told().await, ["joined b@test"]);
        assert_eq!(b.told().await, ["joined a@test"]);
        let verb = if refused == Refused::Declare { "declared" } else { "published to" };
        let line =
            format!("WARN gossip: the exchange celeriac.cluster.celeryev may not be {verb}: classic gossip");
        assert_eq!(log.count(&line), 1, "{log}");
        // It claims to be no node, so that nobody counts on it.
        let member = a.consumer.cluster().members().into_iter().find(|member| &*member.hostname == "b@test");
        assert_eq!(member.unwrap().celeriac.and_then(|own| own.get("node").cloned()), None);
        b.leave().await;
        assert_eq!(a.told().await, ["left b@test"]);
        a.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_may_not_hear_the_others_works_without_gossip() {
    let log = Log::record();
    let party = Party::new();
    let mut a = party.join("a@test").await;
    a.sees(1).await;
    let shim = Shim::sound(party.transport.clone());
    shim.refuse(Refused::Hear);
    let b = party.join_by("b@test", shim, |settings| settings.gossip_mode = GossipMode::Classic).await;
    assert_eq!(a.told().await, ["joined b@test"]);
    assert_eq!(b.consumer.cluster().members(), []);
    assert_eq!(log.count("WARN gossip: the events of the others may not be read: no gossip"), 1, "{log}");
    b.leave().await;
    assert_eq!(a.told().await, ["left b@test"]);
    a.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_ends_in_classic_gossip() {
    let log = Log::record();
    let party = Party::new();
    let mut a = party.join("a@test").await;
    a.sees(1).await;
    a.shim.refuse(Refused::Publish);
    eventually("classic gossip", || async { a.consumer.cluster().standing().is_none().then_some(()) }).await;
    assert_eq!(log.count("may not be published to: classic gossip instead"), 1, "{log}");
    let b = party.join_with("b@test", |settings| settings.gossip_mode = GossipMode::Classic).await;
    assert_eq!(a.told().await, ["joined b@test"]);
    let cluster: Vec<_> = party.bindings().await.into_iter().filter(|(_, key)| key != "worker.#").collect();
    assert_eq!(cluster, []);
    b.leave().await;
    a.leave().await;
}

#[tokio::test(start_paused = true)]
async fn watch_classic_and_mute_workers_know_each_other() {
    let party = Party::new();
    let mut watch = party.join("watch@test").await;
    watch.sees(1).await;
    let mut classic =
        party.join_with("classic@test", |settings| settings.gossip_mode = GossipMode::Classic).await;
    let mut mute = party.join_with("mute@test", |settings| settings.heartbeat = false).await;
    mute.sees(2).await;
    assert_eq!(watch.told().await, ["joined classic@test"]);
    assert_eq!(classic.told().await, ["joined watch@test"]);
    // It is no member, and learns who is.
    let told = mute.told().await;
    assert_eq!(told, ["joined classic@test", "joined watch@test"]);
    classic.leave().await;
    assert_eq!(
        (watch.told().await, mute.told().await),
        (vec!["left classic@test".to_owned()], vec!["left classic@test".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_streams_is_told_of_once() {
    let log = Log::record();
    let party = Party::new();
    let mut a = party.join_with("a@test", |settings| settings.gossip_mode = GossipMode::Stream).await;
    let b = party.join("b@test").await;
    assert_eq!(a.told().await, ["joined b@test"]);
    party.transport.sever();
    a.told().await;
    a.sees(2).await;
    assert_eq!(log.count("WARN gossip: the memory transport has no streams"), 1, "{log}");
    b.leave().await;
    a.leave().await;
}

/// In real time, since events are stamped by the wall clock.
#[tokio::test]
async fn a_broker_that_takes_nothing_for_a_while_loses_nobody() {
    let party = Party::new();
    let often = |settings: &mut Settings| {
        settings.heartbeat_interval = Duration::from_millis(500);
        settings.gossip_beat = Duration::from_millis(500);
    };
    let mut a = party.join_with("a@test", often).await;
    let mut b = party.join_with("b@test", often).await;
    all_see(&[&a, &b], 2).await;
    eventually("a second", || async { (a.standing().watchers.len() == 2).then_some(()) }).await;
    a.told_so_far();
    b.told_so_far();
    for guest in [&a, &b] {
        guest.shim.hold();
    }
    // A beat that waited is not sent: it would say that its lead was there.
    let dropped = |guest: &Guest| guest.running.counters.cluster_dropped.value();
    let began = Instant::now();
    eventually("some silence", || async { (began.elapsed() > Duration::from_secs(4)).then_some(()) }).await;
    for guest in [&a, &b] {
        guest.shim.release();
    }
    eventually("late beats", || async { (dropped(&a) + dropped(&b) > 0).then_some(()) }).await;
    let resumed = Instant::now();
    eventually("heartbeats again", || async { (resumed.elapsed() > Duration::from_secs(3)).then_some(()) })
        .await;
    all_see(&[&a, &b], 2).await;
    assert_ne!(a.standing().leads, b.standing().leads);
    assert_eq!((a.told_so_far(), b.told_so_far()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn garbage_on_the_exchange_is_counted_and_told_now_and_then() {
    let log = Log::record();
    let party = Party::new();
    let mut a = party.join("a@test").await;
    let before = a.sees(1).await;
    let json = "application/json";
    let beat = |term: u64, node: &str| {
        format!(
            r#"{{"type": "beat", "node": "{node}", "hostname": "evil@test", "term": {term}, "seq": 1, "interval": 5,
            "version": 1, "size": 10, "digest": "00000000000000aa", "watchers": ["{node}"], "sure": true,
            "revoked": "0000000000000000", "clock": 5}}"#
        )
    };
    let bodies = [
        b"not json".to_vec(),
        vec![0xff, 0xfe],
        "[".repeat(100_000).into_bytes(),
        b"null".to_vec(),
        b"{}".to_vec(),
        br#"{"type": "snapshot", "members": 7}"#.to_vec(),
        beat(1 << 60, "00000000000000ee").into_bytes(),
        beat(before.term + 100_000, "00000000000000ee").into_bytes(),
    ];
    let count = bodies.len() as u64;
    for body in bodies {
        say(&party, "all.beat", json, body.clone()).await;
        say(&party, "all.change", "application/x-python-serialize", body).await;
    }
    eventually("what is ignored", || async {
        (a.running.counters.ignored_cluster.value() >= 2 * count).then_some(())
    })
    .await;
    assert_eq!(a.running.counters.ignored_cluster.value(), 2 * count);
    assert!(log.count("WARN gossip: ignored") <= 3, "{log}");
    assert!(log.count("DEBUG gossip: ignored") >= 10, "{log}");
    assert_eq!(a.told().await, Vec::<String>::new());
    let after = a.standing();
    assert!(after.leads && after.term == before.term && after.size == 1, "{after:?}");
    a.leave().await;
}

/// Heartbeats that a lead hears of somebody who is not celeriac.
#[tokio::test(start_paused = true)]
async fn a_stranger_is_a_member_and_is_lost_when_it_falls_silent() {
    let party = Party::new();
    let mut a = party.join("a@test").await;
    let mut b = party.join("b@test").await;
    all_see(&[&a, &b], 2).await;
    a.told().await;
    b.told().await;
    let connection = party.transport.connect().await.unwrap();
    let heartbeat = |kind: &str| {
        let fields = [
            ("hostname", Value::from("python@test")),
            ("type", format!("worker-{kind}").into()),
            ("timestamp", celeriac_worker::wall::now().into()),
            ("pid", 77.into()),
            ("clock", 5.into()),
            ("freq", 2.0.into()),
            ("sw_ident", "py-celery".into()),
        ];
        let body = Value::from(Map::from_iter(fields));
        (
            format!("worker.{kind}"),
            Message::transient(Map::new(), codec::encode(&body, Serializer::Json, None).unwrap()),
        )
    };
    for kind in ["online", "heartbeat", "heartbeat"] {
        let (key, message) = heartbeat(kind);
        connection.publish(&Address::exchange("celeryev", key), message).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!((a.standing().size, b.standing().size), (3, 3));
    for guest in [&mut a, &mut b] {
        assert_eq!(guest.told().await, ["joined python@test", "lost python@test"]);
    }
}
