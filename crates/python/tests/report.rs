//! The report that the real Python side makes, read.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac_broker::{ExchangeKind, QueueKind};
use celeriac_protocol::codec::{self, Accept};
use celeriac_protocol::{EncodedBody, Value};
use celeriac_python::report::table::{By, NEW_IN_5_7, TABLE, page};
use celeriac_python::report::{Features, Report, ReportError};
use celeriac_testkit::{Python, TempDir, workspace_root};

/// Starts the app as the zygote does, and prints what it would report.
const SCRIPT: &str = r#"
import json, sys
sys.path[:0] = sys.argv[1:3]
from celeriac import host, report
given = {"argv": ["celery", "worker"], "app": "proj", **json.loads(sys.argv[3])}
found = report.report(host.start(given), given)
found["conf"]["result_backend_max_retries"] = None  # JSON has no infinity
sys.__stdout__.write(json.dumps(found))
"#;

const APP: &str = r##"
from datetime import timedelta
from celery import Celery
from kombu import Exchange, Queue, binding

app = Celery("proj", broker="amqp://me:s3cret@one//;amqp://me:s3cret@two:1234//")
media = Exchange("media", "topic", durable=False)
app.conf.update(
    task_queues=[
        Queue("video", media, routing_key="video.#", queue_arguments={"x-queue-type": "quorum"}),
        Queue("audio", bindings=[binding(media, "audio"), binding(Exchange("all", "fanout"), "")], durable=False,
              queue_arguments={"x-dead-letter-exchange": "dead", "x-custom": 1}),
        Queue("plain", Exchange("plain"), routing_key="plain", max_priority=7, expires=10, message_ttl=2.5),
    ],
    accept_content=["json", "application/x-own"],
    task_acks_late=1,
    task_time_limit="90",
    task_soft_time_limit=timedelta(minutes=1),
    task_default_rate_limit=0.5,
    broker_use_ssl={"ca_certs": "/ca & co.pem", "cert_reqs": 0},
    broker_connection_retry=False,
    event_queue_prefix="seen",
    control_queue_ttl=30,
    worker_prefetch_multiplier=9,
)

@app.task(rate_limit="10/m", acks_late=False, reject_on_worker_lost=True, max_retries=None, time_limit=5)
def add(x, y):
    return x + y
"##;

fn value(app: &str, options: &str) -> Value {
    let dir = TempDir::new();
    dir.write("proj.py", app);
    let package = workspace_root().join("python");
    let args = [package.to_str().unwrap(), dir.path().to_str().unwrap(), options];
    let text = Python::find().run(SCRIPT, &args, &[]);
    let body = EncodedBody {
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        compression: None,
        data: text.into(),
    };
    codec::decode(&body, &Accept::default()).unwrap()
}

fn report(app: &str, options: &str) -> Result<Report, ReportError> {
    Report::read(&value(app, options))
}

#[test]
fn settings_are_the_app_s() {
    let report = report(APP, r#"{"concurrency": 3, "queues": ["video"], "task_events": true}"#).unwrap();
    let features =
        Features { mingle: false, heartbeat_interval: Some(Duration::from_secs(7)), ..Features::default() };
    let settings = report.settings(&features).unwrap();
    assert!(settings.hostname.starts_with("celery@"));
    assert_eq!((settings.concurrency, settings.prefetch_multiplier), (3, 9));
    assert_eq!(settings.consume_from, ["video"]);
    assert!(settings.task_acks_late && settings.task_events && settings.gossip && !settings.mingle);
    assert_eq!(settings.task_time_limit, Some(Duration::from_secs(90)));
    assert_eq!(settings.task_soft_time_limit, Some(Duration::from_secs(60)));
    assert_eq!(settings.heartbeat_interval, Duration::from_secs(7));
    assert_eq!(settings.task_default_rate_limit.as_ref().map(|rate| rate.per_second()), Some(0.5));
    assert!(!settings.connection_retry_on_startup && settings.connection_max_retries == Some(100));
    assert!(settings.accept.allows("application/x-own") && !settings.accept.allows("application/x-yaml"));
    assert_eq!(settings.events.queue.name, "seen");
    assert_eq!(settings.control.queue.message_ttl, Some(Duration::from_secs(30)));
    assert_eq!(settings.conf.get("worker_prefetch_multiplier"), Some(&Value::Int(9)));
    assert_eq!(settings.conf_defaults.get("result_expires"), Some(&Value::Float(86400.0)));
    assert!(report.banner.contains("[queues]") && report.versions["celery"].starts_with("5."));
    let task = &report.tasks["proj.add"];
    assert_eq!((task.acks_late, task.max_retries), (Some(false), None));
    assert_eq!(task.time_limit, Some(Duration::from_secs(5)));
    assert_eq!(task.rate_limit.as_ref().unwrap().as_str(), "10/m");
    assert!(report.registry().task("proj.add").is_some());
}

#[test]
fn queues_keep_their_exchanges_and_arguments() {
    let report = report(APP, "{}").unwrap();
    let queue = |name: &str| report.consume.iter().find(|queue| queue.name() == name).unwrap();
    let video = queue("video");
    assert_eq!((video.exchange.name.as_str(), video.exchange.kind), ("media", ExchangeKind::Topic));
    assert!(
        !video.exchange.durable && video.routing_key == "video.#" && video.queue.kind == QueueKind::Quorum
    );
    let audio = queue("audio");
    let bound: BTreeSet<_> = audio.bindings.iter().map(|(exchange, key)| (&*exchange.name, &**key)).collect();
    // Without an exchange of its own, Celery gives it the default one of tasks.
    assert_eq!(bound, BTreeSet::from([("media", "audio"), ("all", "")]));
    assert_eq!(audio.queue.dead_letter_exchange.as_deref(), Some("dead"));
    assert_eq!(audio.queue.arguments.get("x-custom"), Some(&Value::Int(1)));
    assert!(!audio.queue.durable && audio.topology().bindings.len() >= 2);
    let plain = queue("plain");
    assert_eq!(plain.queue.max_priority, Some(7));
    assert_eq!(plain.queue.expires, Some(Duration::from_secs(10)));
    assert_eq!(plain.queue.message_ttl, Some(Duration::from_millis(2500)));
}

#[test]
fn the_broker_is_a_url_with_everything_in_it() {
    let read = report(APP, "{}").unwrap().read;
    let rest = "?heartbeat=120&connection_timeout=4000&cacertfile=/ca%20%26%20co.pem&verify=verify_none";
    let expected =
        [format!("amqps://me:s3cret@one:5671//{rest}"), format!("amqps://me:s3cret@two:1234//{rest}")];
    assert_eq!(read.urls().collect::<Vec<_>>(), expected);
    assert!(!format!("{read:?}").contains("s3cret"));
    let sqlite = report(
        &APP.replace("amqp://me:s3cret@one//;amqp://me:s3cret@two:1234//", "sqla+sqlite:////tmp/x.db"),
        "{}",
    );
    assert_eq!(sqlite.unwrap().read.url, "sqla+sqlite:////tmp/x.db");
}

/// All sentinels are one place; what they are told themselves has names of its own.
#[test]
fn sentinels_are_one_broker() {
    let app = r#"
from celery import Celery
app = Celery("proj", broker="sentinel://me:s3cret@one/3;sentinel://two:1234/3")
app.conf.broker_use_ssl = {"ssl_ca_certs": "/ca.pem"}
app.conf.broker_transport_options = {
    "master_name": "mymaster", "min_other_sentinels": 1, "visibility_timeout": 60, "sentinel_fanout_compat": True,
    "sentinel_kwargs": {"password": "th&irs", "ssl": True, "ssl_cert_reqs": 0, "socket_timeout": 1, "health_check_interval": 3},
}
"#;
    let report = report(app, "{}").unwrap();
    let parameters = "master_name=mymaster&min_other_sentinels=1&visibility_timeout=60&sentinel_fanout_compat=true&sentinel_password=th%26irs\
        &sentinel_ssl=true&sentinel_ssl_cert_reqs=none&ssl=true&ssl_ca_certs=/ca.pem";
    let one = format!("sentinel://me:s3cret@one:26379/3?{parameters}");
    assert_eq!(report.read.url, format!("{one};sentinel://two:1234/3?{parameters}"));
    assert_eq!(report.read.urls().count(), 1);
    let unsupported = report.read.unsupported.join(" ");
    assert!(
        unsupported.contains("health_check_interval") && !unsupported.contains("fanout"),
        "{unsupported}"
    );
    assert!(!format!("{:?}", report.read).contains("s3cret"));
}

#[test]
fn the_login_is_a_parameter_and_the_log_celery_s_unless_the_app_says_otherwise() {
    let plain = report(APP, "{}").unwrap().worker;
    assert_eq!(plain.log_through_app, None);
    let own = "app.conf.broker_login_method = 'EXTERNAL'\nimport logging\nlogging.getLogger('celery').setLevel('ERROR')";
    let own = report(&format!("{APP}\n{own}\n"), r#"{"pidfile": "%n.pid", "loglevel": "INFO"}"#).unwrap();
    assert!(own.read.url.contains("&auth_mechanism=external&"), "{}", own.read.url);
    // The root logger has no part in it.
    assert_eq!(own.worker.log_through_app, Some(40));
    assert_eq!(own.worker.pidfile.as_deref(), Some("%n.pid"));
    assert_eq!(own.worker.identity, plain.identity);
}

#[test]
fn json_that_the_app_reads_by_a_decoder_of_its_own_is_left_to_it() {
    assert!(report(APP, "{}").unwrap().worker.json_is_kombus);
    let own = "import json\nfrom kombu.serialization import register\n\
               register('json', json.dumps, json.loads, content_type='application/json', content_encoding='utf-8')";
    assert!(!report(&format!("{APP}\n{own}\n"), "{}").unwrap().worker.json_is_kombus);
}

#[test]
fn what_means_nothing_is_named() {
    for (line, error) in [
        (
            "broker_login_method='GSSAPI'",
            "broker_login_method: there are PLAIN, AMQPLAIN and EXTERNAL, but no GSSAPI",
        ),
        ("task_time_limit='soon'", "time_limit: 'soon' is no time"),
        ("task_default_rate_limit='fast'", "rate_limit: could not convert"),
        ("worker_eta_task_limit='many'", "worker_eta_task_limit: 'many' is no number that fits"),
        ("task_queues=[Queue('q', Exchange('e', 'headers'))]", "no headers"),
    ] {
        let app = format!("{APP}\napp.conf.update({line})\n");
        let error_of = |report: Report| report.settings(&Features::default()).unwrap_err();
        let told = report(&app, "{}").map_or_else(|error| error, error_of).to_string();
        assert!(told.contains(error), "{line}: {told}");
    }
}

#[test]
fn the_table_has_every_setting_of_celery() {
    let script = "from celery.app.defaults import DEFAULTS\nprint(*DEFAULTS, sep='\\n')";
    let real = Python::find().run(script, &[], &[]);
    let real: BTreeSet<_> = real.lines().collect();
    let names: Vec<_> = TABLE.iter().flat_map(|row| row.names).copied().collect();
    let listed: BTreeSet<_> = names.iter().copied().collect();
    let newer: BTreeSet<_> = NEW_IN_5_7.iter().copied().collect();
    let other: BTreeSet<_> = listed.symmetric_difference(&real).copied().collect();
    // All of 5.7 or none.
    assert!(other.is_empty() || other == newer, "{other:?}");
    assert_eq!(names.len(), listed.len(), "none twice");
}

/// What the worker reads is what the table says that it honours.
#[test]
fn what_is_read_is_honoured() {
    let source = include_str!("../src/report/settings.rs");
    for row in TABLE.iter().filter(|row| row.by == By::Nobody) {
        for name in row.names.iter().filter(|name| **name != "broker_connection_retry") {
            assert!(!source.contains(&format!("\"{name}\"")), "{name} is read");
        }
    }
}

/// `UPDATE_DOCS=1` writes the page anew.
#[test]
fn the_page_is_the_table() {
    let file = workspace_root().join("docs/settings.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), page(), "run this test with UPDATE_DOCS=1");
}
