//! Mingling with the watchers.

use std::sync::Arc;

use celeriac_broker::{
    Address, Connection, Event, Inbox, Prefetch, Session, Settlement, Subscription, Transport,
};
use celeriac_cluster::watch::message::{BUCKETS, Beat, Compare, Key, Message as Word, NodeId, Revokes};
use celeriac_protocol::codec::Accept;
use celeriac_protocol::control::{ReplyTo, Request};
use celeriac_protocol::{Map, Value};
use celeriac_worker::{EventSettings, GossipMode, Pidbox, Settings};
use tokio::time::{Duration, Instant, timeout};

use super::party::{Guest, Party};
use crate::log::Log;
use crate::shim::Shim;
use crate::support::DEADLINE;

/// Somebody on the cluster's exchange, or in remote control, made by hand.
struct Hand {
    connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    inbox: Inbox,
}

impl Hand {
    async fn open(party: &Party, topology: celeriac_broker::Topology) -> Self {
        let connection = party.transport.connect().await.unwrap();
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&topology.queues[0].name)).await.unwrap();
        Hand { connection, session, inbox }
    }

    /// By these keys of the cluster's exchange.
    async fn on_cluster(party: &Party, keys: &[Key]) -> Self {
        Hand::open(party, EventSettings::default().cluster_box("hand", keys)).await
    }

    /// A node with a mailbox, to which everybody's `hello` comes.
    async fn node(party: &Party) -> Self {
        Hand::open(party, Pidbox::default().mailbox("python@test")).await
    }

    /// The next message, unless none comes within five seconds.
    async fn next(&mut self) -> Option<Value> {
        let event = timeout(Duration::from_secs(5), self.inbox.recv()).await.ok()?;
        let Some(Event::Delivery(delivery)) = event else { panic!("the session ended") };
        self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        Some(delivery.message.decode(&Accept::default()).unwrap())
    }

    async fn word(&mut self) -> Word {
        Word::read(&self.next().await.expect("a word")).unwrap()
    }

    /// The next question to everybody.
    async fn hello(&mut self) -> Option<Map> {
        Some(Request::read(self.next().await?).unwrap().arguments)
    }

    async fn say(&self, key: Key, word: &Word) {
        let settings = EventSettings::default();
        let address = Address::exchange(&settings.cluster().exchanges[0].name, key.to_string());
        self.connection.publish(&address, settings.cluster_message(word).unwrap()).await.unwrap();
    }
}

fn mingles(settings: &mut Settings) {
    settings.mingle = true;
}

async fn revoke(party: &Party, guest: &Guest, id: &str) {
    let pidbox = Pidbox::default();
    let request = Request {
        method: "revoke".to_owned(),
        arguments: Map::from_iter([("task_id", Value::from(id))]),
        destination: Some(vec![guest.consumer.hostname().to_owned()]),
        ..Request::default()
    };
    let message = pidbox.request(request, DEADLINE).unwrap();
    let connection = party.transport.connect().await.unwrap();
    let exchange = pidbox.requests().exchanges[0].name.clone();
    connection.publish(&Address::exchange(exchange, ""), message).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// What a worker knows to be revoked, with ages, as it answers one that knows nothing.
async fn revokes(party: &Party) -> Vec<(String, f64)> {
    let node = NodeId(0xabc);
    let mut hand = Hand::on_cluster(party, &[Key::Node(node)]).await;
    let compare = Compare { node, starts: true, buckets: vec![0; BUCKETS], clock: 1 };
    hand.say(Key::Lead, &Word::Compare(compare)).await;
    let Word::Revokes(page) = hand.word().await else { panic!("no page") };
    assert!(page.last);
    page.ids
}

#[tokio::test(start_paused = true)]
async fn the_lead_alone_is_asked_where_all_listen_to_it() {
    let log = Log::record();
    let party = Party::new();
    let a = party.join("a@test").await;
    let b = party.join("b@test").await;
    a.sees(2).await;
    b.sees(2).await;
    let lead = if a.standing().leads { &a } else { &b };
    revoke(&party, lead, "r1").await;
    // Who says hello is heard here.
    let mut node = Hand::node(&party).await;
    let began = Instant::now();
    let c = party.join_with("c@test", mingles).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(log.count("INFO mingle: searching for neighbors"), 1, "{log}");
    assert_eq!(log.count("INFO mingle: sync with 1 nodes"), 1, "{log}");
    assert_eq!(log.count("INFO mingle: sync complete"), 1, "{log}");
    assert_eq!(node.hello().await, None);
    // It is the only one that knows, and tells it.
    a.shim.kill().await;
    b.shim.kill().await;
    crate::support::eventually("another lead", || async { c.standing().leads.then_some(()) }).await;
    let ids: Vec<_> = revokes(&party).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn revokes_keep_their_age_and_what_is_not_known_there_is_told() {
    let party = Party::new();
    let a = party.join("a@test").await;
    a.sees(1).await;
    revoke(&party, &a, "ours").await;
    a.leave().await;
    // A lead made by hand, with an old revoke in two pages.
    let mut lead = Hand::on_cluster(&party, &[Key::Lead]).await;
    let joins = party.join_with("b@test", mingles);
    let answers = async {
        let Word::Compare(compare) = lead.word().await else { panic!("no question") };
        assert!(compare.starts);
        let page = |id: &str, age, last| {
            let ids = vec![(id.to_owned(), age)];
            Word::Revokes(Revokes {
                buckets: (0..BUCKETS).collect(),
                ids,
                last,
                strangers: false,
                clock: 9_000,
            })
        };
        lead.say(Key::Node(compare.node), &page("old", 10_000.0, false)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        lead.say(Key::Node(compare.node), &page("older", 10_500.0, true)).await;
    };
    let (b, ()) = tokio::join!(joins, answers);
    assert!(b.consumer.clock().value() > 9_000);
    lead.session.close().await;
    b.sees(1).await;
    let mut told = revokes(&party).await;
    told.sort_by(|(one, _), (other, _)| one.cmp(other));
    let [(old, age), (older, greater)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((old.as_str(), older.as_str()), ("old", "older"));
    assert!((10_000.0..10_100.0).contains(age) && (10_500.0..10_600.0).contains(greater), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn others_are_asked_as_well_where_the_lead_does_not_speak_for_all() {
    let log = Log::record();
    let party = Party::new();
    let watch = party.join("watch@test").await;
    watch.sees(1).await;
    let classic =
        party.join_with("classic@test", |settings| settings.gossip_mode = GossipMode::Classic).await;
    watch.sees(2).await;
    let mut node = Hand::node(&party).await;
    let began = Instant::now();
    let c = party.join_with("c@test", mingles).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    let hello = node.hello().await.unwrap();
    assert_eq!(hello.get("celeriac"), Some(&Map::from_iter([("watched", Value::from(true))]).into()));
    // Once by its lead, once by the classic one; the watch worker says nothing twice.
    assert_eq!(log.count("INFO mingle: sync with 2 nodes"), 1, "{log}");
    drop((watch, classic, c));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_alone_waits_for_nobody() {
    let log = Log::record();
    let party = Party::new();
    let began = Instant::now();
    let a = party.join_with("a@test", mingles).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(log.count("INFO mingle: all alone"), 1, "{log}");
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn watchers_that_do_not_answer_are_followed_by_a_hello() {
    let party = Party::new();
    let mut mute = Hand::on_cluster(&party, &[Key::Lead, Key::Watchers]).await;
    let mut node = Hand::node(&party).await;
    let began = Instant::now();
    let a = party.join_with("a@test", mingles).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert!(matches!(mute.word().await, Word::Compare(_)) && matches!(mute.word().await, Word::Compare(_)));
    let hello = node.hello().await.unwrap();
    assert_eq!(hello.get("celeriac"), Some(&Map::from_iter([("watched", Value::from(false))]).into()));
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn on_a_busy_broker_a_lead_that_comes_meanwhile_is_asked_instead_of_all() {
    let log = Log::record();
    let party = Party::new();
    let mut node = Hand::node(&party).await;
    let joins = party.join_by("a@test", Shim::busy(party.transport.clone()), mingles);
    let leads = async {
        // Its question comes to nobody before; one that has just begun has no key but its own.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let mut lead = Hand::on_cluster(&party, &[Key::Node(NodeId(7))]).await;
        lead.say(Key::Beat, &Word::Beat(beat())).await;
        let Word::Compare(compare) = lead.word().await else { panic!("no question") };
        let page = Revokes { buckets: Vec::new(), ids: Vec::new(), last: true, strangers: false, clock: 1 };
        lead.say(Key::Node(compare.node), &Word::Revokes(page)).await;
        lead
    };
    let (a, mut lead) = tokio::join!(joins, leads);
    assert_eq!(log.count("INFO mingle: sync with 1 nodes"), 1, "{log}");
    // It has heard who leads, and need not look for it.
    assert!(matches!(lead.word().await, Word::Ask { .. }));
    assert_eq!(node.hello().await, None);
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn on_a_busy_broker_who_leads_in_the_end_asks_those_who_do_not_compare() {
    let log = Log::record();
    let party = Party::new();
    let classic =
        party.join_with("classic@test", |settings| settings.gossip_mode = GossipMode::Classic).await;
    revoke(&party, &classic, "r1").await;
    let a = party.join_by("a@test", Shim::busy(party.transport.clone()), mingles).await;
    assert_eq!(log.count("INFO mingle: the broker is busy: what others know comes by gossip"), 1, "{log}");
    assert_eq!(known(&party, "a@test").await, Vec::<String>::new());
    a.sees(2).await;
    timeout(DEADLINE, async {
        while known(&party, "a@test").await != ["r1"] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("asks for what is revoked");
    drop((a, classic));
}

/// Of one that has begun to lead.
fn beat() -> Beat {
    Beat {
        node: NodeId(7),
        hostname: "lead@test".into(),
        term: 1,
        seq: 1,
        interval: 5.0,
        version: 1,
        size: 1,
        digest: 1,
        watchers: vec![NodeId(7)],
        sure: true,
        revoked: 0,
        clock: 1,
    }
}

/// Who answers a `hello`.
async fn answers(party: &Party, watched: Option<bool>, destination: Option<&str>) -> Vec<String> {
    let mut nodes: Vec<_> =
        replies(party, watched, destination).await.into_iter().map(|(node, _)| node).collect();
    nodes.sort();
    nodes
}

/// The ids that a node knows to be revoked, as it answers who has asked the watchers.
async fn known(party: &Party, node: &str) -> Vec<String> {
    let replies = replies(party, Some(true), Some(node)).await;
    let revoked = replies[0].1.as_map().unwrap().get("revoked").and_then(Value::as_map).unwrap();
    revoked.iter().map(|(id, _)| id.to_owned()).collect()
}

/// What comes back for a `hello` that tells of one revoked id.
async fn replies(party: &Party, watched: Option<bool>, destination: Option<&str>) -> Vec<(String, Value)> {
    let pidbox = Pidbox::default();
    let mut hand = Hand::open(party, pidbox.reply_box("asker")).await;
    let mut arguments = Map::from_iter([
        ("from_node", Value::from("asker@test")),
        ("revoked", Map::from_iter([("theirs", Value::from(1.0))]).into()),
    ]);
    if let Some(watched) = watched {
        arguments.insert("celeriac", Map::from_iter([("watched", Value::from(watched))]));
    }
    let request = Request {
        method: "hello".to_owned(),
        arguments,
        destination: destination.map(|node| vec![node.to_owned()]),
        ticket: Some("t".to_owned()),
        reply_to: Some(ReplyTo {
            exchange: pidbox.replies().exchanges[0].name.clone(),
            routing_key: "asker".to_owned(),
        }),
        ..Request::default()
    };
    let message = pidbox.request(request, DEADLINE).unwrap();
    let exchange = pidbox.requests().exchanges[0].name.clone();
    hand.connection.publish(&Address::exchange(exchange, ""), message).await.unwrap();
    let mut replies = Vec::new();
    while let Some(reply) = hand.next().await {
        let reply = reply.as_map().unwrap().clone();
        replies.extend(reply.into_iter().map(|(node, value)| (node.into_owned(), value)));
    }
    hand.connection.close().await;
    replies
}

#[tokio::test(start_paused = true)]
async fn revokes_that_the_watchers_were_told_are_not_stamped_anew() {
    let party = Party::new();
    let mut guests = Vec::new();
    for name in ["a@test", "b@test", "c@test"] {
        guests.push(party.join(name).await);
    }
    for guest in &mut guests {
        guest.sees(3).await;
        guest.told().await;
    }
    assert_eq!(answers(&party, Some(true), None).await, Vec::<String>::new());
    for node in ["a@test", "b@test", "c@test"] {
        assert_eq!(known(&party, node).await, Vec::<String>::new());
    }
    // Who answers it and who does not take over the revokes of one whom the watchers did not answer.
    assert_eq!(answers(&party, Some(false), None).await.len(), 1);
    for node in ["a@test", "b@test", "c@test"] {
        assert_eq!(known(&party, node).await, ["theirs"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_is_answered_by_few() {
    let party = Party::new();
    let mut guests = Vec::new();
    for name in ["a@test", "b@test", "c@test", "d@test", "e@test"] {
        guests.push(party.join(name).await);
    }
    for guest in &mut guests {
        guest.sees(5).await;
        guest.told().await;
    }
    let mut watchers: Vec<_> = guests[0].standing().watchers.iter().map(|name| name.to_string()).collect();
    watchers.sort();
    assert_eq!(watchers.len(), 2);
    assert_eq!(answers(&party, None, None).await, watchers);
    assert_eq!(answers(&party, Some(true), None).await, Vec::<String>::new());
    let next = answers(&party, Some(false), None).await;
    assert!(next.len() == 2 && next.iter().all(|node| !watchers.contains(node)), "{next:?}");
    for guest in &guests {
        let node = guest.consumer.hostname();
        assert_eq!(answers(&party, Some(true), Some(node)).await, [node]);
    }
}
