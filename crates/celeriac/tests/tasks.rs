//! What the attribute makes of a function.

use std::time::Duration;

use celeriac::{Map, NativeTask, Signature, TaskOptions, Value, to_value};

/// Adds.
#[celeriac::task(name = "tasks.add")]
pub(crate) async fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[celeriac::task]
fn optional(a: i64, #[default(a * 2)] b: i64, c: Option<String>) -> String {
    format!("{a} {b} {c:?}")
}

#[celeriac::task]
async fn all(first: String, #[args] mut rest: Vec<Value>, #[kwargs] more: Map) -> (String, Vec<Value>, Map) {
    rest.reverse();
    (first, rest, more)
}

#[celeriac::task]
fn nothing() {}

#[celeriac::task]
async fn raw(r#type: Value) -> Value {
    r#type
}

#[celeriac::task(
    max_retries = None,
    default_retry_delay = 0.5,
    autoretry,
    retry_backoff,
    retry_backoff_max = 60,
    retry_jitter = false,
    acks_late,
    acks_on_failure_or_timeout = false,
    ignore_result,
    store_errors_even_if_ignored = true,
    track_started,
    time_limit = 30,
    soft_time_limit = 20.25,
    rate_limit = "30/m",
    send_events = false,
    queue = "slow",
    priority = 9,
    expires = 3600,
    serializer = "yaml",
    compression = "zstd"
)]
async fn every_option(value: f32) -> f32 {
    value
}

#[tokio::test]
async fn functions_can_be_run_here_and_now() {
    assert_eq!(add::run(1, 2).await, 3);
    assert_eq!(optional::run(1, 2, None), "1 2 None");
    nothing::run();
}

#[test]
fn names_are_paths_with_dots() {
    assert_eq!(add().name(), "tasks.add");
    assert_eq!(nothing().name(), "main.tasks.nothing");
    mod inner {
        #[celeriac::task]
        pub(super) fn job() {}
    }
    assert_eq!(inner::job().name(), "main.tasks.inner.job");
}

#[celeriac::task]
fn hash(hash: u64) -> u64 {
    let hash = hash * 31;
    hash + 1
}

#[test]
fn variables_may_have_a_tasks_name() {
    assert_eq!(hash::run(2), 63);
    assert_eq!(hash::new(2).into_call().unwrap().args, [Value::Int(2)]);
}

#[test]
fn options_are_celerys() {
    assert_eq!(add().options(), TaskOptions::default());
    let options = TaskOptions {
        max_retries: None,
        default_retry_delay: Duration::from_millis(500),
        autoretry: true,
        retry_backoff: Some(Duration::from_secs(1)),
        retry_backoff_max: Duration::from_secs(60),
        retry_jitter: false,
        acks_late: Some(true),
        acks_on_failure_or_timeout: Some(false),
        ignore_result: Some(true),
        store_errors_even_if_ignored: Some(true),
        track_started: Some(true),
        time_limit: Some(Duration::from_secs(30)),
        soft_time_limit: Some(Duration::from_millis(20_250)),
        rate_limit: Some("30/m".parse().unwrap()),
        send_events: false,
        queue: Some("slow".to_owned()),
        priority: Some(9),
        expires: Some(Duration::from_secs(3600)),
        serializer: Some("yaml".to_owned()),
        compression: Some("zstd".to_owned()),
    };
    assert_eq!(every_option().options(), options);
}

#[test]
fn calls_have_the_functions_parameters() {
    let call = add::new(1, 2).into_call().unwrap();
    assert_eq!((call.task.as_str(), call.args), ("tasks.add", vec![Value::Int(1), Value::Int(2)]));

    let more: Map = [("k", Value::Bool(true))].into_iter().collect();
    let call = all::new("a".to_owned(), vec![Value::Int(1)], more.clone()).into_call().unwrap();
    assert_eq!((call.args, call.kwargs), (vec!["a".into(), Value::Int(1)], more));

    let call = optional::new(1, 2, None).into_call().unwrap();
    assert_eq!(call.args, [Value::Int(1), Value::Int(2), Value::Null]);
    assert_eq!(
        raw::new(Value::Decimal("1.0".to_owned())).into_call().unwrap().args,
        [Value::Decimal("1.0".to_owned())]
    );
}

#[test]
fn calls_take_over_the_tasks_options() {
    let options = every_option::new(1.0).priority(3).into_call().unwrap().options;
    assert_eq!((options.queue.as_deref(), options.priority), (Some("slow"), Some(3)));
    assert_eq!((options.serializer.as_deref(), options.compression.as_deref()), (Some("yaml"), Some("zstd")));
    assert_eq!(options.time_limit, Some(Duration::from_secs(30)));
    assert_eq!(options.ignore_result, Some(true));
}

#[test]
fn links_are_signatures() {
    let next = add::new(0, 1).queue("later").countdown(Duration::from_millis(1500));
    let embed = add::new(1, 2).link(next).link_error(nothing::new().immutable()).into_call().unwrap().embed;
    let options: Map = [("countdown", Value::Float(1.5)), ("queue", "later".into())].into_iter().collect();
    let expected = Signature { options, ..Signature::new("tasks.add", vec![0.into(), 1.into()]) };
    assert_eq!(embed.callbacks, [expected]);
    assert!(embed.errbacks[0].immutable);
}

#[test]
fn what_is_no_data_is_told_when_it_is_sent() {
    let call = celeriac::TaskCall::<()>::new("t").arg(&std::collections::HashMap::from([((1, 2), 3)]));
    let error = call.into_call().unwrap_err().to_string();
    assert!(error.starts_with("the call cannot be encoded: t: "), "{error}");
    assert!(to_value(&1).is_ok());
}
