//! What the worker tells of itself and its requests.

use std::time::Duration;

use celeriac_protocol::{Map, Value};
use celeriac_worker::{Call, Shutdown};
use chrono::{DateTime, Utc};

use super::client::{Client, from_json, gated, keys, ok, rig};
use crate::support::{eventually, ints};

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.as_map().and_then(|map| map.get(name)).unwrap_or_else(|| panic!("no {name}: {value:?}"))
}

const INFO: [&str; 10] = [
    "id",
    "name",
    "args",
    "kwargs",
    "type",
    "hostname",
    "time_start",
    "acknowledged",
    "delivery_info",
    "worker_pid",
];

#[tokio::test]
async fn requests_are_described_at_each_stage() {
    let (gate, task) = gated("stuck");
    let mut rig = rig().with(task);
    rig.settings.concurrency = 1;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let call =
        |x: i64| Call { kwargs: Map::from_iter([("k", Value::from("v"))]), ..Call::new("stuck", ints(&[x])) };
    rig.send("runs", call(1)).await;
    gate.wait_for(1).await;
    let mut shadowed = call(2);
    (shadowed.options.shadow, shadowed.options.priority) = (Some("nick".to_owned()), Some(3));
    rig.send("waits", shadowed).await;
    let eta = Utc::now() + Duration::from_secs(3600);
    for (id, eta) in [("later", eta + Duration::from_secs(1)), ("sooner", eta)] {
        let mut call = call(3);
        call.options.eta = Some(eta);
        rig.send(id, call).await;
    }
    eventually("the last to arrive", || async { (worker.counters.received.value() == 4).then_some(()) })
        .await;

    let active = client.ask("active", &[]).await;
    let [info] = active.as_list().unwrap() else { panic!("{active:?}") };
    assert_eq!(keys(info), INFO);
    assert_eq!(field(info, "args"), &from_json("[1]"));
    assert_eq!(field(info, "kwargs"), &from_json(r#"{"k": "v"}"#));
    assert_eq!((field(info, "name"), field(info, "type")), (&"stuck".into(), &"stuck".into()));
    assert_eq!(field(info, "acknowledged"), &true.into());
    assert_eq!(field(info, "worker_pid"), &std::process::id().into());
    assert!(field(info, "time_start").as_f64().is_some_and(|time| time > 1.6e9));
    let delivery_info =
        r#"{"exchange": "", "routing_key": "celery", "priority": null, "redelivered": false}"#;
    assert_eq!(field(info, "delivery_info"), &from_json(delivery_info));

    let safe = client.ask("active", &[("safe", true.into())]).await;
    let info = &safe.as_list().unwrap()[0];
    assert_eq!((field(info, "args"), field(info, "kwargs")), (&"(1,)".into(), &"{'k': 'v'}".into()));

    let reserved = client.ask("reserved", &[]).await;
    let [info] = reserved.as_list().unwrap() else { panic!("{reserved:?}") };
    assert_eq!(keys(info), INFO);
    assert_eq!((field(info, "name"), field(info, "type")), (&"nick".into(), &"stuck".into()));
    assert_eq!(field(info, "acknowledged"), &false.into());
    assert_eq!((field(info, "time_start"), field(info, "worker_pid")), (&Value::Null, &Value::Null));
    assert_eq!(field(field(info, "delivery_info"), "priority"), &3.into());

    let scheduled = client.ask("scheduled", &[]).await;
    let [sooner, later] = scheduled.as_list().unwrap() else { panic!("{scheduled:?}") };
    assert_eq!(keys(sooner), ["eta", "priority", "request"]);
    let told = DateTime::parse_from_rfc3339(field(sooner, "eta").as_str().unwrap()).unwrap();
    assert_eq!(told.timestamp_micros(), eta.timestamp_micros());
    assert_eq!(field(sooner, "priority"), &6.into());
    assert_eq!(field(field(sooner, "request"), "id"), &"sooner".into());
    assert_eq!(field(field(later, "request"), "id"), &"later".into());

    let ids = ["runs", "waits", "later", "unknown"].map(Value::from).to_vec();
    let found = client.ask("query_task", &[("ids", ids.into())]).await;
    assert_eq!(keys(&found), ["runs", "waits", "later"]);
    let state = |id| field(&found, id).as_list().unwrap()[0].as_str().unwrap().to_owned();
    assert_eq!(["runs", "waits", "later"].map(state), ["active", "reserved", "scheduled"]);
    assert_eq!(keys(&field(&found, "runs").as_list().unwrap()[1]), INFO);
    gate.open();
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn stats_have_the_recorded_fields() {
    let mut rig = rig();
    rig.settings.task_time_limit = Some(Duration::from_secs(60));
    rig.settings.task_soft_time_limit = Some(Duration::from_millis(500));
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b"] {
        rig.send(id, Call::new("echo", ints(&[1]))).await;
        rig.result(id).await;
    }
    let stats = client.ask("stats", &[]).await;
    assert_eq!(
        keys(&stats),
        ["total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage", "celeriac"]
    );
    assert_eq!(field(&stats, "total"), &from_json(r#"{"echo": 2}"#));
    assert!(field(&stats, "clock").as_str().is_some_and(|clock| clock.parse::<u64>().is_ok()));
    assert!(field(&stats, "uptime").as_i64().is_some());
    assert_eq!(field(&stats, "prefetch_count"), &8.into());
    let pool = field(&stats, "pool");
    assert_eq!(
        keys(pool),
        [
            "implementation",
            "max-concurrency",
            "processes",
            "max-tasks-per-child",
            "put-guarded-by-semaphore",
            "timeouts",
            "writes"
        ]
    );
    assert_eq!(field(pool, "max-concurrency"), &2.into());
    assert_eq!(field(pool, "processes"), &Value::List(vec![std::process::id().into()]));
    assert_eq!(field(pool, "timeouts"), &Value::List(vec![0.5.into(), 60.into()]));
    let broker = field(&stats, "broker");
    assert_eq!(
        keys(broker),
        [
            "hostname",
            "userid",
            "virtual_host",
            "port",
            "insist",
            "ssl",
            "transport",
            "connect_timeout",
            "transport_options",
            "login_method",
            "uri_prefix",
            "heartbeat",
            "failover_strategy",
            "alternates",
            "credential_provider"
        ]
    );
    assert_eq!(field(broker, "transport"), &"memory".into());
    let rusage = field(&stats, "rusage");
    assert_eq!(
        keys(rusage),
        [
            "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock",
            "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"
        ]
    );
    assert!(field(rusage, "maxrss").as_i64().is_some_and(|kilobytes| kilobytes > 1000));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn active_queues_have_the_recorded_fields() {
    let mut rig = rig();
    rig.settings.queues.known.clear();
    let worker = rig.start();
    // Without `rig.connection()`, which declares the queue as the rig has it otherwise.
    let mut client = Client::open(&rig).await;
    let recorded = r#"[{"name": "celery", "exchange": {"name": "celery", "type": "direct", "arguments": null,
        "durable": true, "passive": false, "auto_delete": false, "delivery_mode": null, "no_declare": false},
        "routing_key": "celery", "queue_arguments": null, "binding_arguments": null, "consumer_arguments": null,
        "durable": true, "exclusive": false, "auto_delete": false, "no_ack": false, "alias": null, "bindings": [],
        "no_declare": null, "expires": null, "message_ttl": null, "max_length": null, "max_length_bytes": null,
        "max_priority": null}]"#;
    let queues = client.ask("active_queues", &[]).await;
    assert_eq!(queues, from_json(recorded));
    assert_eq!(keys(&queues.as_list().unwrap()[0]), keys(&from_json(recorded).as_list().unwrap()[0]));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn memory_and_report_are_told() {
    let mut rig = rig();
    rig.settings.conf = [("result_backend", "redis://:pw@h/1".into())].into_iter().collect();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let sample = client.ask("memsample", &[]).await;
    let sample = sample.as_str().unwrap();
    assert!(sample.ends_with("MB"), "{sample}");
    let dump = client.ask("memdump", &[("samples", 10.into())]).await;
    let dump = dump.as_str().unwrap();
    assert!(dump.starts_with(&format!("- rss (sample):\n-    > {sample},\n- rss (end): ")), "{dump}");
    let again = client.ask("memdump", &[]).await;
    assert!(again.as_str().unwrap().starts_with("- rss (end): "), "the samples are forgotten: {again:?}");

    let report = client.ask("report", &[]).await;
    let report = ok(&report);
    assert!(report.starts_with("\nsoftware -> celeriac:"), "{report}");
    assert!(report.contains("settings -> transport:memory results:memory:"), "{report}");
    assert!(report.ends_with("\n\nresult_backend: 'redis://:********@h/1'\n"), "{report}");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_starts_is_told_clock_and_revokes() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    client.ask("revoke", &[("task_id", "ours".into())]).await;
    let theirs = from_json(r#"{"theirs": [2253.9, "theirs"]}"#);
    let arguments = [("from_node", "w9@example".into()), ("revoked", theirs)];
    let hello = client.ask("hello", &arguments).await;
    assert_eq!(keys(&hello), ["revoked", "clock"]);
    assert_eq!(keys(field(&hello, "revoked")), ["ours", "theirs"]);
    // A Python peer raises at an integer, and drops what is older than its own clock allows.
    assert!(matches!(field(field(&hello, "revoked"), "ours"), Value::Float(stamp) if *stamp >= 2253.9));
    assert_eq!(client.ask_json("revoked", "{}").await, r#"["ours","theirs"]"#);
    // What watchers were told does not come to a worker that does not gossip with them.
    let arguments = [
        ("from_node", "w9@example".into()),
        ("revoked", from_json(r#"{"watched": 1.0}"#)),
        ("celeriac", from_json(r#"{"watched": true}"#)),
    ];
    let hello = client.ask("hello", &arguments).await;
    assert_eq!(keys(field(&hello, "revoked")), ["ours", "theirs", "watched"]);
    worker.end(Shutdown::Warm).await.unwrap();
}
