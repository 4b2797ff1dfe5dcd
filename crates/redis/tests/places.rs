//! Where Redis is elsewhere in the end: sentinels and clusters.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_broker::{
    Address, Binding, Connection, Envelope, Error, Event, Exchange, ExchangeKind, Prefetch, Queue,
    Settlement, Subscription, Topology, Transport,
};
use celeriac_testkit::{Python, RedisCluster, Sentinels};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use crate::support::*;

/// Sends numbers, each once, until it is told to stop.
struct Sender {
    accepted: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Sender {
    fn start(url: &str) -> Self {
        let (accepted, stop) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn({
            let (url, accepted, stop) = (url.to_owned(), accepted.clone(), stop.clone());
            async move {
                let mut connection = again(&url).await;
                for number in 0.. {
                    match try_send(&connection, "q", number).await {
                        Ok(_) => accepted.lock().unwrap().push(number),
                        Err(error) => {
                            assert!(error.is_recoverable(), "{error}");
                            connection = again(&url).await;
                        }
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        Sender { accepted, stop, task }
    }

    /// Waits until so many more are accepted. Returns all that are.
    async fn more(&self, count: usize) -> Vec<usize> {
        let accepted = || self.accepted.lock().unwrap().clone();
        let goal = accepted().len() + count;
        let poll = async {
            while accepted().len() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, poll).await.expect("sending goes on");
        accepted()
    }

    /// All that were accepted.
    async fn stop(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        Arc::into_inner(self.accepted).unwrap().into_inner().unwrap()
    }
}

/// Consumes over as many connections as it takes.
struct Receiver {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What has come.
#[derive(Default)]
struct Seen {
    /// How often each number was acknowledged for good.
    acknowledged: HashMap<usize, usize>,
    /// Whether these are acknowledged nobody was told: they may come again, or not.
    doubtful: HashSet<usize>,
}

impl Seen {
    fn has(&self, number: usize) -> bool {
        self.acknowledged.contains_key(&number) || self.doubtful.contains(&number)
    }
}

impl Receiver {
    fn start(url: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (url, into) = (url.to_owned(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                let connection = again(&url).await;
                if let Err(error) = consume_into(&connection, &into).await {
                    assert!(error.is_recoverable(), "{error}");
                }
            }
        });
        Receiver { seen, task }
    }

    /// Waits until all of these have come.
    async fn all(self, numbers: &[usize]) -> Seen {
        let missing = || {
            let seen = self.seen.lock().unwrap();
            numbers.iter().filter(|number| !seen.has(**number)).count()
        };
        let poll = async {
            while missing() > 0 {
                assert!(!self.task.is_finished(), "the receiver goes on");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let all = tokio::time::timeout(DEADLINE, poll).await;
        assert!(all.is_ok(), "{} do not come", missing());
        self.task.abort();
        let _ = self.task.await;
        Arc::into_inner(self.seen).unwrap().into_inner().unwrap()
    }
}

async fn consume_into(connection: &Arc<dyn Connection>, seen: &Mutex<Seen>) -> Result<(), Error> {
    let (session, mut inbox) = connection.open_session(Prefetch::Session(50)).await?;
    session.subscribe(&Subscription::new("q")).await?;
    loop {
        match inbox.recv().await {
            Some(Event::Delivery(delivery)) => {
                let number = body(&delivery).parse().unwrap();
                if let Err(error) = session.settle(&[Settlement::Ack(delivery.tag)]).await {
                    seen.lock().unwrap().doubtful.insert(number);
                    return Err(error);
                }
                *seen.lock().unwrap().acknowledged.entry(number).or_default() += 1;
            }
            Some(Event::Lost(error)) => return Err(error),
            other => panic!("{other:?}"),
        }
    }
}

async fn again(url: &str) -> Arc<dyn Connection> {
    let transport = transport(url);
    let connect = async {
        loop {
            match transport.connect().await {
                Ok(connection) => return connection,
                Err(error) => assert!(error.is_recoverable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, connect).await.expect("a connection")
}

/// The master dies under load. All that its replica had by then comes, and all that is sent afterwards; Python goes by
/// the same sentinels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_sentinels_loses_nothing_that_was_replicated() {
    let sentinels = Arc::new(Sentinels::start());
    let url = sentinels.url(2, &format!("?master_name={}&min_other_sentinels=2", Sentinels::MASTER));
    declare(&again(&url).await, "q").await;
    let (sender, receiver) = (Sender::start(&url), Receiver::start(&url));
    let safe = sender.more(300).await;
    let other = sentinels.clone();
    let failing = tokio::task::spawn_blocking(move || {
        other.wait_until_replicated();
        other.fail_over();
    });
    failing.await.unwrap();
    let before = sender.more(1).await.len();
    sender.more(200).await;
    let accepted = sender.stop().await;
    // What was on its way to the replica may be missing.
    receiver.all(&[&safe, &accepted[before..]].concat()).await;

    let script = r#"
import sys
from kombu import Connection
with Connection(sys.argv[1], transport_options={'master_name': sys.argv[2], 'min_other_sentinels': 2}) as c:
    # The sentinels may not agree yet, and kombu does not ask twice.
    c.ensure_connection(max_retries=60, interval_start=0.5, interval_step=0)
    theirs, ours = c.SimpleQueue('theirs'), c.SimpleQueue('ours')
    print(ours.get(timeout=10).payload)
    theirs.put(['from python'])
"#;
    let connection = again(&url).await;
    declare(&connection, "theirs").await;
    declare(&connection, "ours").await;
    send(&connection, "ours", r#""from rust""#).await;
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(1), &["theirs"]).await;
    let plain = sentinels.url(2, "");
    let python =
        tokio::task::spawn_blocking(move || Python::find().run(script, &[&plain, Sentinels::MASTER], &[]));
    assert_eq!(body(&next(&mut inbox).await), r#"["from python"]"#);
    assert_eq!(python.await.unwrap().trim(), "from rust");
    old_channels_are_served(&sentinels, &url).await;
}

/// Fanout by the channels of kombu before 5.4 and since: what comes by both comes once, and those who know one hear us.
async fn old_channels_are_served(sentinels: &Sentinels, url: &str) {
    let connection = again(&format!("{url}&sentinel_fanout_compat=true")).await;
    let topology = Topology {
        exchanges: vec![Exchange::new("ev", ExchangeKind::Fanout)],
        queues: vec![Queue { auto_delete: true, ..Queue::new("mine") }],
        bindings: vec![Binding::new("mine", "ev", "a.#")],
    };
    connection.declare(&topology).await.unwrap();
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(9), &["mine"]).await;
    let script = r#"
import sys
from kombu import Connection, Exchange
with Connection(sys.argv[1], transport_options={'master_name': sys.argv[2], 'sentinel_fanout_compat': True}) as c:
    ev = Exchange('ev', 'fanout')
    c.Producer(serializer='raw').publish(b'both', exchange=ev, routing_key='a.b', declare=[ev])
"#;
    let plain = sentinels.url(2, "");
    Python::find().run(script, &[&plain, Sentinels::MASTER], &[]);
    let server = sentinels.second();
    let old = Envelope { message: message("old", None), delivery_tag: "1".to_owned(), ..Envelope::default() };
    let old = String::from_utf8(old.encode().unwrap()).unwrap();
    assert_eq!(server.cli(&["PUBLISH", "/{db}.ev/a.b", &old]).trim(), "1");
    let client = redis::Client::open(server.url(2)).unwrap();
    let mut others = client.get_async_pubsub().await.unwrap();
    others.subscribe(&["/{db}.ev/a.c", "/2.ev/a.c"]).await.unwrap();
    connection.publish(&Address::exchange("ev", "a.c"), message("ours", None)).await.unwrap();
    assert_eq!(server.cli(&["PUBLISH", "/2.ev/a.b", &old.replace(r#""1""#, r#""2""#)]).trim(), "1");
    for expected in ["both", "old", "ours", "old"] {
        assert_eq!(body(&next(&mut inbox).await), expected);
    }
    let mut heard = others.on_message();
    for channel in ["/2.ev/a.c", "/{db}.ev/a.c"] {
        let told = tokio::time::timeout(DEADLINE, heard.next()).await.unwrap().unwrap();
        assert_eq!(told.get_channel_name(), channel);
    }
}

/// The master gives way to its replica, and then its keys move to another node, under load: all that was accepted comes,
/// and what is acknowledged comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_loses_nothing() {
    let cluster = Arc::new(RedisCluster::start());
    let url = cluster.url("");
    declare(&again(&url).await, "q").await;
    let (sender, receiver) = (Sender::start(&url), Receiver::start(&url));
    for step in 0..2 {
        sender.more(200).await;
        let cluster = cluster.clone();
        let moving = tokio::task::spawn_blocking(move || match step {
            0 => cluster.fail_over(),
            _ => cluster.move_slot("{celeriac}", cluster.replica(), cluster.other()),
        });
        moving.await.unwrap();
    }
    sender.more(200).await;
    let accepted = sender.stop().await;
    let Seen { acknowledged, doubtful } = receiver.all(&accepted).await;
    let times = |number: &usize| acknowledged.get(number).copied().unwrap_or(0);
    let wrong: Vec<_> = accepted.iter().filter(|number| times(number) > 1).collect();
    assert!(wrong.is_empty(), "{wrong:?} came again, {doubtful:?} may");
    // Nothing is left where it was, and all of ours is in one place.
    until(cluster.owner(), "0", &["DBSIZE"], "0").await;
}
