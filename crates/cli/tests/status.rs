use celeriac_testkit::{CeleryWorker, PYAPP, Vhost, rabbitmq};

use crate::hello::Hello;

#[test]
fn nobody_online_is_unavailable() {
    let hello = Hello::new();
    let ended = hello.run(&["status", "-t", "0.1"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains("No nodes replied within time constraint"), "{ended:?}");
}

#[test]
fn python_workers_answer() {
    let vhost = Vhost::new(rabbitmq());
    let env = [("BROKER", vhost.url()), ("BACKEND", "rpc://".to_owned())];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _worker = CeleryWorker::start(PYAPP, "pyapp", &["-n", "py1@here", "-P", "solo"], &env);

    let hello = Hello::new();
    let ask = |args: &[&str]| hello.ok(&[&["-b", &vhost.url(), "status"], args].concat());
    assert_eq!(ask(&["-t", "5", "-d", "py1@here"]), "->  py1@here: OK\n\n1 node online.\n");
    assert_eq!(
        ask(&["-t", "5", "-d", "py1@here", "--json"]),
        "{\"py1@here\": {\"ok\": \"pong\"}}\n\n1 node online.\n"
    );
    let ended = hello.run(&["-b", &vhost.url(), "status", "-t", "0.1", "-d", "other@here"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
}
