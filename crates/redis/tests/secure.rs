//! TLS, sockets of the file system, and a user who may do what is needed and nothing else.

use celeriac_broker::{Error, Transport};
use celeriac_redis::doctor::Doctor;
use celeriac_testkit::{Redis, Tls, free_port};

use crate::refusals::ping_pong;
use crate::support::*;

/// What docs/redis.md says that such a user needs.
const DOCS: &str = include_str!("../../../docs/redis.md");
const SOURCES: &[&str] = &[
    include_str!("../src/client.rs"),
    include_str!("../src/connection.rs"),
    include_str!("../src/pulse.rs"),
    include_str!("../src/reaper.rs"),
    include_str!("../src/restore.rs"),
];

/// The rules of the user, as `ACL SETUSER` takes them.
pub fn rules() -> Vec<&'static str> {
    let block = DOCS.split("```").find(|block| block.trim_start().starts_with("ACL SETUSER"));
    let words = block.expect("the rules in docs/redis.md").split_whitespace().filter(|word| *word != "\\");
    words.skip(5).collect()
}

/// Lets in a user with these rules and no others.
pub fn let_in(server: &Redis, user: &str) {
    let_in_with(server, user, &rules());
}

fn let_in_with(server: &Redis, user: &str, rules: &[&str]) {
    server.cli(&[&["ACL", "SETUSER", user, "reset", "on", ">word"][..], rules].concat());
}

/// What the doctor needs beyond them.
fn rules_of_the_doctor() -> Vec<&'static str> {
    let (_, rest) =
        DOCS.split_once("For `celeriac redis doctor` also `").expect("its rules in docs/redis.md");
    rest.split('`').next().unwrap().split_whitespace().collect()
}

/// The doctor sees and mends everything with what the docs name, and goes without what only concerns the server.
#[tokio::test]
async fn the_doctor_needs_few_rights() {
    let server = Redis::start();
    let url = server.url(0).replace("redis://", "redis://doctor:word@");
    let doctors = rules_of_the_doctor();
    let ghost = "celeriac-00000000000000000000000000000000";
    for without in [0, 3] {
        let all = [&rules()[..], &doctors[..doctors.len() - without]].concat();
        let_in_with(&server, "doctor", &all);
        for words in [
            &["FLUSHDB"][..],
            &["CONFIG", "SET", "timeout", "60"],
            &["SADD", &format!("celeriac.owner.{ghost}"), "x"],
            &["HSET", "unacked", "timeless", r#"[{"body": ""}, "", "q"]"#],
            &["SADD", "_kombu.binding.celery.pidbox", "\x06\x16\x06\x16py@test.celery.pidbox"],
            &["LPUSH", "q", "m"],
        ] {
            server.cli(words);
        }
        let doctor = Doctor::open(&transport(&url)).await.unwrap();
        let report = doctor.examine().await.unwrap();
        assert_eq!((report.findings.len(), report.alone), if without == 0 { (4, true) } else { (2, false) });
        assert_eq!(report.queues.iter().map(|queue| &*queue.name).collect::<Vec<_>>(), ["q"]);
        let done = doctor.mend(&report).await.unwrap();
        assert_eq!(done.len(), if without == 0 { 3 } else { 2 }, "{done:?}");
        doctor.close().await;
        assert_eq!(ask(&server, "0", &["EXISTS", &format!("celeriac.owner.{ghost}")]), "0");
    }
}

/// Every command that is written down here is among the rules; the suite, which is run by such a user, shows that they do.
#[test]
fn the_rules_have_every_command() {
    let lua = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lua")).unwrap();
    let lua = lua.map(|file| file.unwrap().path()).filter(|path| !path.ends_with("doctor.lua"));
    let lua: Vec<_> = lua.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let scripted = lua.iter().flat_map(|text| text.split("call('").skip(1));
    let asked = SOURCES.iter().flat_map(|text| text.split("arg(\"").skip(1));
    let rules = rules();
    let mut known = 0;
    for text in scripted.chain(asked) {
        let command = text.split(['\'', '"']).next().unwrap();
        if command.chars().all(|letter| letter.is_ascii_uppercase()) && !ARGUMENTS.contains(&command) {
            let rule = format!("+{}", command.to_lowercase());
            assert!(rules.contains(&rule.as_str()), "{command} is not among the rules in docs/redis.md");
            known += 1;
        }
    }
    assert!(known > 50, "{known}");
}

/// Words of commands that are no commands, and commands that have a word of their own among the rules.
const ARGUMENTS: [&str; 13] = [
    "CLIENT",
    "COUNT",
    "LIMIT",
    "MATCH",
    "NOLOOP",
    "NX",
    "ON",
    "PX",
    "SCORES",
    "SETNAME",
    "TRACKING",
    "WITHSCORES",
    "XX",
];

/// A server that wants certificates of its clients too.
#[tokio::test]
async fn tls_is_spoken_both_ways() {
    let (tls, stranger) = (Tls::generate(), Tls::generate());
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let [certificate, key, authority] = [tls.certificate(), tls.key(), tls.authority()].map(text);
    let _server = Redis::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "yes",
    ]);
    let (own, own_key) = tls.client("worker");
    let shown = format!("ssl_certfile={}&ssl_keyfile={}", text(own), text(own_key));
    let url = |parameters: &str| format!("rediss://localhost:{port}/0?{parameters}");
    ping_pong(&url(&format!("{shown}&ssl_ca_certs={authority}"))).await;
    ping_pong(&url(&format!("{shown}&ssl_cert_reqs=none"))).await;

    let strange = text(stranger.authority());
    for (parameters, reason) in [
        (format!("{shown}&ssl_ca_certs={strange}"), "certificate"),
        (format!("ssl_ca_certs={authority}"), "ertificate"),
        (shown, "certificate"),
    ] {
        let error = transport(&url(&parameters)).connect().await.err().expect("a refusal");
        assert!(
            matches!(error, Error::Connect { .. }) && error.to_string().contains(reason),
            "{parameters}: {error}"
        );
    }
    // Files are read before anybody connects.
    for parameters in ["ssl_ca_certs=/none.pem", "ssl_certfile=/none.pem", "ssl_cert_reqs=maybe"] {
        let error = url(parameters).parse::<celeriac_redis::RedisTransport>().unwrap_err().to_string();
        assert!(error.contains("ssl_"), "{error}");
    }
}

#[tokio::test]
async fn sockets_of_files_are_served() {
    let server = Redis::start();
    let socket = server.socket();
    for scheme in ["redis+socket", "unix"] {
        ping_pong(&format!("{scheme}://{}?virtual_host=3", socket.display())).await;
    }
    assert_eq!(ask(&server, "3", &["EXISTS", "celeriac.queues"]), "1");
}
