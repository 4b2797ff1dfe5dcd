//! How a zygote starts, or does not.

use std::path::Path;

use celeriac_protocol::Value;
use celeriac_python::host::{StartError, Zygote};
use celeriac_testkit::TempDir;

use super::{Host, soon, start};

#[tokio::test]
async fn it_reports_what_it_found() {
    let host = Host::start("basic", &[("concurrency", Value::Int(3))]).await;
    let report = host.started.report.as_map().unwrap();
    let worker = report.get("worker").and_then(Value::as_map).unwrap();
    assert_eq!(worker.get("hostname"), Some(&"test@here".into()));
    assert_eq!(worker.get("processes"), Some(&Value::Int(3)));
    let tasks = report.get("tasks").and_then(Value::as_map).unwrap();
    let careful = tasks.get("basic.careful").and_then(Value::as_map).unwrap();
    assert_eq!(careful.get("acks_late"), Some(&Value::Bool(true)));
}

#[tokio::test]
async fn an_app_that_is_not_there_ends_with_celerys_code_and_words() {
    match start(&TempDir::new(), "nosuch", &[]).await {
        Err(StartError::Ended { code: 2, text }) => assert!(text.contains("nosuch"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_python_is_told_from_what_ends_at_once() {
    let missing = soon(Zygote::start(Path::new("/no/python"), &Value::Null, &[])).await;
    assert!(matches!(missing, Err(StartError::Spawn(..))), "{missing:?}");
    let silent = soon(Zygote::start(Path::new("/bin/false"), &Value::Null, &[])).await;
    assert!(matches!(silent, Err(StartError::Ended { code: 1, .. })), "{silent:?}");
}
