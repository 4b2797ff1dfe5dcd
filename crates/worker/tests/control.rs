//! Remote control, asked through its mailbox.

pub mod client;
mod cluster;
mod hostile;
mod inspect;
mod limits;
mod revoke;

use std::sync::Arc;

use celeriac_protocol::Value;
use celeriac_worker::control::{Arguments, CommandError};
use celeriac_worker::{Call, Consumer, GossipMode, Shutdown};

use self::client::{Client, error, from_json, gated, json, ok, rig};
use crate::support::{Rig, eventually, ints};

#[tokio::test]
async fn each_answer_is_celery_s_own() {
    let mut rig = rig();
    rig.settings.conf =
        [("task_acks_late", true.into()), ("broker_url", "amqp://me:pw@h/v".into())].into_iter().collect();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    // Recorded from Celery 5.6.2, or read off `celery/worker/control.py`.
    for (method, arguments, answer) in [
        ("ping", "{}", r#"{"ok": "pong"}"#),
        ("ping", r#"{"what": "ever"}"#, r#"{"ok": "pong"}"#),
        ("active", r#"{"safe": null}"#, "[]"),
        ("dump_active", "{}", "[]"),
        ("reserved", "{}", "[]"),
        ("dump_reserved", "{}", "[]"),
        ("scheduled", "{}", "[]"),
        ("dump_schedule", "{}", "[]"),
        ("revoked", "{}", "[]"),
        ("dump_revoked", "{}", "[]"),
        ("registered", r#"{"taskinfoitems": []}"#, r#"["echo", "gated"]"#),
        ("dump_tasks", "{}", r#"["echo", "gated"]"#),
        (
            "registered",
            r#"{"taskinfoitems": ["max_retries", "nonsense", "send_events"]}"#,
            r#"["echo [max_retries=3 send_events=True]", "gated [max_retries=3 send_events=True]"]"#,
        ),
        ("query_task", r#"{"ids": ["x"]}"#, "{}"),
        (
            "query_task",
            "{}",
            r#"{"error": "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"}"#,
        ),
        (
            "query_task",
            r#"{"ids": null}"#,
            r#"{"error": "TypeError(\"'NoneType' object is not iterable\")"}"#,
        ),
        (
            "conf",
            r#"{"with_defaults": false}"#,
            r#"{"task_acks_late": true, "broker_url": "amqp://me:********@h/v"}"#,
        ),
        ("dump_conf", "{}", r#"{"task_acks_late": true, "broker_url": "amqp://me:********@h/v"}"#),
        (
            "revoke",
            r#"{"task_id": "i", "terminate": true, "signal": "SIGKILL"}"#,
            r#"{"ok": "terminate: tasks unknown"}"#,
        ),
        (
            "revoke",
            r#"{"task_id": "i", "terminate": false, "signal": "SIGTERM"}"#,
            r#"{"ok": "tasks {'i'} flagged as revoked"}"#,
        ),
        ("revoke", r#"{"task_id": []}"#, r#"{"ok": "tasks set() flagged as revoked"}"#),
        ("revoke", r#"{"task_id": ["j", "j", "k"]}"#, r#"{"ok": "tasks {'j', 'k'} flagged as revoked"}"#),
        ("terminate", r#"{"task_id": "l", "signal": "KILL"}"#, r#"{"ok": "terminate: tasks unknown"}"#),
        (
            "terminate",
            r#"{"task_id": "l", "signal": "kill"}"#,
            r#"{"error": "TypeError('signal name must be uppercase string.')"}"#,
        ),
        (
            "terminate",
            "{}",
            r#"{"error": "TypeError(\"terminate() missing 2 required positional arguments: 'signal' and 'task_id'\")"}"#,
        ),
        ("revoked", "{}", r#"["i", "j", "k", "l"]"#),
        (
            "revoke_by_stamped_headers",
            r#"{"headers": {"team": "red"}, "terminate": false, "signal": "SIGTERM"}"#,
            r#"{"ok": "headers {'team': 'red'} flagged as revoked, but not terminated"}"#,
        ),
        (
            "revoke_by_stamped_headers",
            r#"{"headers": ["team=blue", "x=y"], "terminate": true}"#,
            r#"{"ok": "headers {'team': 'blue', 'x': 'y'} were not terminated"}"#,
        ),
        (
            "revoke_by_stamped_headers",
            r#"{"headers": ["team"]}"#,
            r#"{"error": "IndexError('list index out of range')"}"#,
        ),
        (
            "revoke_by_stamped_headers",
            r#"{"headers": 7}"#,
            r#"{"error": "AttributeError(\"'int' object has no attribute 'items'\")"}"#,
        ),
        (
            "rate_limit",
            r#"{"task_name": "echo", "rate_limit": "10/m"}"#,
            r#"{"ok": "new rate limit set successfully"}"#,
        ),
        ("registered", "{}", r#"["echo [rate_limit=10/m]", "gated"]"#),
        (
            "rate_limit",
            r#"{"task_name": "echo", "rate_limit": 0}"#,
            r#"{"ok": "rate limit disabled successfully"}"#,
        ),
        (
            "rate_limit",
            r#"{"task_name": "echo", "rate_limit": "ten"}"#,
            r#"{"error": "Invalid rate limit string: ValueError(\"could not convert string to float: 'ten'\")"}"#,
        ),
        ("rate_limit", r#"{"task_name": "nope", "rate_limit": "1/s"}"#, r#"{"error": "unknown task"}"#),
        (
            "time_limit",
            r#"{"task_name": "echo", "hard": 60, "soft": 30}"#,
            r#"{"ok": "time limits set successfully"}"#,
        ),
        (
            "registered",
            r#"{"taskinfoitems": ["time_limit", "soft_time_limit"]}"#,
            r#"["echo [time_limit=60 soft_time_limit=30]", "gated"]"#,
        ),
        ("time_limit", "{}", r#"{"error": "unknown task"}"#),
        ("pool_grow", r#"{"n": 1}"#, r#"{"ok": "pool will grow"}"#),
        ("pool_shrink", r#"{"n": 1}"#, r#"{"ok": "pool will shrink"}"#),
        ("autoscale", r#"{"max": 4, "min": 2}"#, r#"{"error": "ValueError('Autoscale not enabled')"}"#),
        (
            "autoscale",
            r#"{"maximum": 4}"#,
            r#"{"error": "TypeError(\"autoscale() got an unexpected keyword argument 'maximum'\")"}"#,
        ),
        (
            "pool_restart",
            r#"{"modules": null, "reload": false, "reloader": null}"#,
            r#"{"error": "ValueError('Pool restarts not enabled')"}"#,
        ),
        (
            "add_consumer",
            r#"{"queue": "extra", "exchange": null, "exchange_type": "direct", "routing_key": null}"#,
            r#"{"ok": "add consumer extra"}"#,
        ),
        ("cancel_consumer", r#"{"queue": "extra"}"#, r#"{"ok": "no longer consuming from extra"}"#),
        ("heartbeat", "{}", "null"),
        ("election", r#"{"id": "e", "topic": "task", "action": {}}"#, "null"),
        ("hello", r#"{"from_node": "celery@localhost", "revoked": {}}"#, "null"),
        (
            "objgraph",
            r#"{"num": 1, "max_depth": 1, "type": "Request"}"#,
            r#"{"error": "ValueError('objgraph does not apply: this worker has no Python objects; memsample shows its memory')"}"#,
        ),
        ("nonsense", "{}", r#"{"error": "KeyError('nonsense')"}"#),
        (
            "ping",
            r#"{"state": 1}"#,
            r#"{"error": "TypeError(\"ping() got multiple values for argument 'state'\")"}"#,
        ),
    ] {
        assert_eq!(
            client.ask_json(method, arguments).await,
            json(&from_json(answer)),
            "{method} {arguments}"
        );
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn it_answers_while_every_slot_is_busy_and_during_a_warm_shutdown() {
    let (gate, task) = gated("stuck");
    let mut rig = rig().with(task);
    rig.settings.concurrency = 1;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    eventually("a start", || async { (gate.started() == 1).then_some(()) }).await;
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    // As Celery's worker, it does not answer that; the next answer has the next ticket.
    let request = client.request("shutdown", &[]);
    client.publish(request, None).await;
    // What has not started is given back; what runs goes on.
    rig.wait_for_len("celery", 1).await;
    let active = client.ask("active", &[]).await;
    assert_eq!(active.as_list().map(<[_]>::len), Some(1));
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    gate.open();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn a_program_s_own_commands_go_first_and_may_panic_or_fail() {
    async fn own(consumer: Arc<Consumer>, mut arguments: Arguments) -> Result<Value, CommandError> {
        match arguments.take("how").as_str() {
            Some("panic") => panic!("as told"),
            Some("fail") => Err(CommandError::Value("as told".to_owned())),
            _ => Ok(consumer.hostname().into()),
        }
    }
    let rig = rig();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.control_command("ping", own));
    let mut client = Client::open(&rig).await;
    assert_eq!(client.ask("ping", &[]).await, Value::from("celery@localhost"));
    assert_eq!(
        error(&client.ask("ping", &[("how", "panic".into())]).await),
        "RuntimeError('the command panicked')"
    );
    assert_eq!(error(&client.ask("ping", &[("how", "fail".into())]).await), "ValueError('as told')");
    assert_eq!(client.ask("ping", &[]).await, Value::from("celery@localhost"));
    assert_eq!(worker.counters.invalid_control.value(), 2);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_given_up() {
    async fn hang(_: Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
        std::future::pending().await
    }
    let rig = rig();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.control_command("hang", hang));
    let mut client = Client::open(&rig).await;
    assert_eq!(error(&client.ask("hang", &[]).await), "TimeoutError('the command took longer than 10s')");
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn requests_reach_those_that_are_meant_in_time() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let by = |matcher: &str, pattern: &str| (Some(matcher.to_owned()), Some(pattern.to_owned()));
    for (destination, (matcher, pattern), expires, is_meant) in [
        (named(&["other", "celery@localhost"]), (None, None), None, true),
        (named(&["other"]), (None, None), None, false),
        (None, by("glob", "celery@*"), None, true),
        (None, by("glob", "w2*"), None, false),
        (None, by("pcre", "cel.ry@"), None, true),
        (None, by("pcre", "["), None, false),
        (None, by("nonsense", "celery@*"), None, false),
        (None, (None, None), Some(1.0), false),
        (None, (None, None), Some(0.0), true),
        (None, (None, None), Some(4e9), true),
    ] {
        let shown = format!("{destination:?} {matcher:?} {pattern:?} {expires:?}");
        let mut request = client.request("ping", &[]);
        (request.destination, request.matcher, request.pattern) = (destination, matcher, pattern);
        client.publish(request, expires).await;
        // The answer to what is asked next tells that there is none to what was asked before.
        let answered = client.answers_before_the_next().await;
        assert_eq!(answered, usize::from(is_meant), "{shown}");
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn queues_are_added_and_cancelled_and_stay_so_after_a_loss() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let extra = [
        ("queue", "extra".into()),
        ("exchange", "ex".into()),
        ("exchange_type", "topic".into()),
        ("routing_key", "a.*".into()),
    ];
    client.ask("add_consumer", &extra).await;
    let send = async |rig: &Rig, id: &str| {
        let mut call = Call::new("echo", ints(&[1]));
        (call.options.exchange, call.options.routing_key) = (Some("ex".to_owned()), Some("a.b".to_owned()));
        rig.send(id, call).await;
    };
    send(&rig, "a").await;
    rig.result("a").await;
    let queues = client.ask("active_queues", &[]).await;
    let described = queues.as_list().unwrap()[1].as_map().unwrap().clone();
    assert_eq!(described.get("routing_key"), Some(&"a.*".into()));
    assert_eq!(described.get("exchange").unwrap().as_map().unwrap().get("type"), Some(&"topic".into()));

    rig.transport.sever();
    drop(client);
    send(&rig, "b").await;
    rig.result("b").await;

    let mut client = Client::open(&rig).await;
    client.ask("cancel_consumer", &[("queue", "extra".into())]).await;
    let queues = client.ask("active_queues", &[]).await;
    assert_eq!(queues.as_list().map(<[_]>::len), Some(1));
    send(&rig, "c").await;
    rig.send("d", Call::new("echo", ints(&[1]))).await;
    rig.result("d").await;
    rig.wait_for_len("extra", 1).await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_the_broker_refuses_is_told_and_forgotten() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.connection().await;
    let refused = client.ask("add_consumer", &[("queue", "dead".into()), ("durable", false.into())]).await;
    assert!(error(&refused).starts_with("ValueError('declared with other arguments"), "{refused:?}");
    let queues = client.ask("active_queues", &[]).await;
    assert_eq!(queues.as_list().map(<[_]>::len), Some(1));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn an_election_runs_its_action_here() {
    let mut rig = rig();
    (rig.settings.gossip, rig.settings.gossip_mode) = (true, GossipMode::Classic);
    let (told, mut elected) = tokio::sync::mpsc::unbounded_channel();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| {
        worker.on_elected("mine", move |_, action| drop(told.send(action)))
    });
    let mut client = Client::open(&rig).await;
    let arguments = [("id", "e".into()), ("topic", "mine".into()), ("action", "do it".into())];
    assert_eq!(client.ask("election", &arguments).await, Value::Null);
    let action = tokio::time::timeout(crate::support::DEADLINE, elected.recv()).await.unwrap();
    assert_eq!(action, Some("do it".into()));
    worker.end(Shutdown::Warm).await.unwrap();
}
