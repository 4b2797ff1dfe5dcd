use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::BrokerUrl;
use celeriac_protocol::{State, TaskMeta, Value};
use celeriac_results::conformance::{DEADLINE, Fixture, Stores, id};
use celeriac_results::{ChordPart, Error, RedisStore, ResultStore, Settings};

struct Redis;

pub fn open(url: &str, settings: Settings) -> Arc<RedisStore> {
    Arc::new(RedisStore::new(&BrokerUrl::parse(url).unwrap(), settings).unwrap())
}

#[async_trait]
impl Fixture for Redis {
    async fn open(&self, settings: Settings) -> Stores {
        let url = celeriac_testkit::redis().url(9);
        Stores { caller: open(&url, settings.clone()), worker: open(&url, settings) }
    }
}

celeriac_results::suite!(Redis);

fn cli(args: &[&str]) -> String {
    let args: Vec<_> = ["-n", "9"].iter().chain(args).copied().collect();
    celeriac_testkit::redis().cli(&args).trim().to_owned()
}

#[tokio::test]
async fn keys_and_expiry_are_celerys() {
    let url = celeriac_testkit::redis().url(9);
    let day = open(&url, Settings::default());
    let id = id();
    day.store(&TaskMeta::success(&id, 1), None).await.unwrap();
    let key = format!("celery-task-meta-{id}");
    let seconds: u32 = cli(&["TTL", &key]).parse().unwrap();
    assert!((86_000..=86_400).contains(&seconds), "{seconds}");
    day.close().await;

    for (global, prefix) in [("mine", "mine_"), ("mine:", "mine:")] {
        let global_keyprefix = Some(global.to_owned());
        let store = open(&url, Settings { expires: None, global_keyprefix, ..Settings::default() });
        store.store(&TaskMeta::success(&id, 1), None).await.unwrap();
        assert_eq!(cli(&["TTL", &format!("{prefix}celery-task-meta-{id}")]), "-1");
        assert_eq!(store.wait(&id).await.unwrap(), TaskMeta::success(&id, 1));
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_no_result_is_told_and_replaced() {
    let store = open(&celeriac_testkit::redis().url(9), Settings::default());
    for garbage in ["not json", "[1, 2]", "{}", r#"{"status": 5}"#] {
        let id = id();
        cli(&["SET", &format!("celery-task-meta-{id}"), garbage]);
        for outcome in [store.fetch(&id).await, store.wait(&id).await] {
            assert!(matches!(outcome, Err(Error::Invalid { .. })), "{garbage}: {outcome:?}");
        }
        store.store(&TaskMeta::success(&id, 1), None).await.unwrap();
        assert_eq!(store.fetch(&id).await.unwrap(), TaskMeta::success(&id, 1));
    }
    let id = id();
    cli(&["RPUSH", &format!("celery-task-meta-{id}"), "x"]);
    let outcome = store.fetch(&id).await;
    assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
    store.close().await;
}

/// Other writers order their keys as they like.
#[tokio::test]
async fn a_success_of_another_writer_stays() {
    let store = open(&celeriac_testkit::redis().url(9), Settings::default());
    for kept in [r#"{"result":"theirs","status":"SUCCESS"}"#, r#"{"status":"SUCCESS","result":"theirs"}"#] {
        let id = id();
        cli(&["SET", &format!("celery-task-meta-{id}"), kept]);
        store.store(&TaskMeta::success(&id, "ours"), None).await.unwrap();
        assert_eq!(store.fetch(&id).await.unwrap(), TaskMeta::success(&id, "theirs"));
    }
    store.close().await;
}

#[tokio::test]
async fn a_store_costs_one_command() {
    let server = celeriac_testkit::Redis::start();
    let store = open(&server.url(0), Settings::default());
    store.store(&TaskMeta::success(id(), 1), None).await.unwrap();
    server.cli(&["CONFIG", "RESETSTAT"]);
    let metas: Vec<_> = (0..100).map(|number| TaskMeta::success(id(), number)).collect();
    futures_util::future::try_join_all(metas.iter().map(|meta| store.store(meta, None))).await.unwrap();
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))?;
        line.split(',').next()?.parse::<u32>().ok()
    };
    // What the script calls is counted too; a round trip is what came over the connection.
    assert_eq!((calls("evalsha"), calls("eval"), calls("multi")), (Some(100), None, None), "{stats}");
    assert_eq!(
        (calls("get"), calls("setex"), calls("publish")),
        (Some(100), Some(100), Some(100)),
        "{stats}"
    );
    store.close().await;
}

/// Nobody stays subscribed to what nobody waits for.
#[tokio::test]
async fn subscriptions_end_with_their_waits() {
    let server = celeriac_testkit::Redis::start();
    let stores = Stores {
        caller: open(&server.url(0), Settings::default()),
        worker: open(&server.url(0), Settings::default()),
    };
    let channels = async |wanted: usize| {
        let poll = async {
            let count = || server.cli(&["PUBSUB", "CHANNELS", "*"]).split_whitespace().count();
            while count() != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, poll).await.expect("the channels of those who wait");
    };
    let metas: Vec<_> = (0..100).map(|number| TaskMeta::success(id(), number)).collect();
    let mut waits = Box::pin(futures_util::future::join_all(metas.iter().map(|meta| stores.wait(&meta.id))));
    tokio::select! {
        _ = &mut waits => panic!("ready before it was stored"),
        () = channels(100) => {}
    }
    for meta in &metas[..50] {
        stores.store(meta).await.unwrap();
    }
    drop(waits);
    channels(0).await;
    stores.close().await;
}

/// A server of one test's own, by TLS and by a unix socket.
#[tokio::test]
async fn tls_and_unix_sockets_are_served() {
    let (tls, folder, port) =
        (celeriac_testkit::Tls::generate(), celeriac_testkit::TempDir::new(), celeriac_testkit::free_port());
    let socket = folder.path().join("redis.sock");
    let mut command = std::process::Command::new("redis-server");
    command.args(["--port", "0", "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
    command.arg("--unixsocket").arg(&socket).args(["--tls-port", &port.to_string()]);
    command.arg("--tls-cert-file").arg(tls.certificate()).arg("--tls-key-file").arg(tls.key());
    command.arg("--tls-ca-cert-file").arg(tls.authority()).args(["--tls-auth-clients", "no"]);
    let server = celeriac_testkit::Process::start(&command);
    server.wait_for_line("Ready to accept connections", std::time::Duration::from_secs(30));

    let authority = tls.authority();
    let trusted =
        format!("rediss://localhost:{port}/3?ssl_cert_reqs=required&ssl_ca_certs={}", authority.display());
    let meta = TaskMeta::success(id(), 1);
    for url in [
        trusted.as_str(),
        &format!("rediss://localhost:{port}/3?ssl_cert_reqs=none"),
        &format!("redis+socket://{}?virtual_host=3", socket.display()),
    ] {
        let stores =
            Stores { caller: open(url, Settings::default()), worker: open(url, Settings::default()) };
        stores.store(&meta).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta, "{url}");
        stores.close().await;
    }
    // Nobody vouches for the server here.
    let store = open(&format!("rediss://localhost:{port}/3"), Settings::default());
    let refused = store.fetch(&meta.id).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

/// What docs/redis.md says that the user of a result store needs is enough.
#[tokio::test]
async fn a_user_needs_few_rights() {
    let docs = include_str!("../../../docs/redis.md");
    let rules = docs.split("A result store needs `").nth(1).and_then(|rest| rest.split('`').next());
    let rules: Vec<_> = rules.expect("the rules in docs/redis.md").split_whitespace().collect();
    let server = celeriac_testkit::Redis::start();
    let keys = docs.split("for `~celery").nth(1).and_then(|rest| rest.split('`').next());
    let keys = format!("~celery{}", keys.expect("the keys in docs/redis.md"));
    let keys: Vec<_> = keys.split_whitespace().collect();
    server.cli(&[&["ACL", "SETUSER", "few", "on", ">word", "resetchannels"][..], &keys, &rules].concat());
    let url = format!("redis://few:word@127.0.0.1:{}/3", server.port());
    let stores = Stores { caller: open(&url, Settings::default()), worker: open(&url, Settings::default()) };
    for expires in [None, Some(std::time::Duration::from_secs(9))] {
        let worker = open(&url, Settings { expires, ..Settings::default() });
        let meta = TaskMeta::success(id(), 1);
        worker.store(&meta, None).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta);
        worker.close().await;
        stores.caller.forget(&meta.id).await.unwrap();
    }
    let (one, other) = tokio::join!(stores.caller.fetch("one"), stores.caller.fetch("other"));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    for chord_ordered in [true, false] {
        let (worker, group) = (open(&url, Settings { chord_ordered, ..Settings::default() }), id());
        worker.set_chord_size(&group, 1).await.unwrap();
        for again in [false, true] {
            let (state, result) = (&State::Success, &Value::from(again));
            let part = ChordPart { group: &group, index: Some(0), id: "a", state, result, again };
            assert!(worker.chord_part(&part).await.unwrap().is_some());
        }
        worker.chord_done(&group).await.unwrap();
        worker.save_group(&group, &Value::Null).await.unwrap();
        assert_eq!(worker.restore_group(&group).await.unwrap(), Some(Value::Null));
        worker.close().await;
    }
    stores.close().await;
}

/// A part may have run on Python's worker first: its JSON is another.
#[tokio::test]
async fn a_part_that_python_counted_counts_once() {
    let url = celeriac_testkit::redis().url(9);
    for chord_ordered in [true, false] {
        let (store, group) = (open(&url, Settings { chord_ordered, ..Settings::default() }), id());
        let counted = r#"[1, "\u00f6\"\\\n\u007f\ud83d\ude00", "SUCCESS", 1]"#;
        let key = format!("celery-taskset-meta-{group}.j");
        cli(&if chord_ordered { vec!["ZADD", &key, "0", counted] } else { vec!["RPUSH", &key, counted] });
        store.set_chord_size(&group, 1).await.unwrap();
        let (id, state, result) = ("\u{f6}\"\\\n\u{7f}\u{1f600}", &State::Success, &Value::from(2));
        let part = ChordPart { group: &group, index: Some(0), id, state, result, again: true };
        let header = store.chord_part(&part).await.unwrap().expect("all parts");
        assert_eq!(header.parts, [TaskMeta { children: Vec::new(), ..TaskMeta::success(id, 2) }]);
        store.close().await;
    }
}

/// A refused password is told at once, whoever waits.
#[tokio::test]
async fn a_refused_password_is_told() {
    let server = celeriac_testkit::Redis::start();
    server.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}/0", server.port());
    let (right, wrong) = (open(&url("right"), Settings::default()), open(&url("wrong"), Settings::default()));
    let meta = TaskMeta::success(id(), 1);
    right.store(&meta, None).await.unwrap();
    for outcome in [wrong.fetch(&meta.id).await, wrong.wait(&meta.id).await] {
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    }
    assert_eq!(right.wait(&meta.id).await.unwrap(), meta);
}
