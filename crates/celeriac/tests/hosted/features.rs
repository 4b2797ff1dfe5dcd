//! Everything that Celery's prefork worker does for a task (`apps/features`).

use celeriac_testkit::Process;
use serde_json::{Value, json};

use super::{Kind, Site, assert_same, end};

/// What came of all checks, which events were sent, and what was logged.
fn run(kind: Kind) -> Value {
    let site = Site::new("", "features");
    let first = site.worker(kind, &["-E", "-c", "4", "-n", "w1@test", "-Q", "celery,ranked"]);
    let limits = ["--max-tasks-per-child", "2", "--soft-time-limit", "1", "--time-limit", "2.5"];
    let words = [&["-E", "-c", "1", "-n", "w2@test", "-Q", "limited"][..], &limits].concat();
    let second = site.worker(kind, &words);
    let mut told = site.python(&["-m", "features.client"]);
    end(&first);
    end(&second);
    told["logs"] = json!([log(&site, &first), log(&site, &second)]);
    told
}

fn log(site: &Site, worker: &Process) -> Value {
    let file = site.files.write(&format!("{}.log", worker.id()), worker.stderr());
    site.python(&["-m", "features.normal", &file.to_string_lossy()])
}

#[test]
fn outcomes_events_and_lines_are_celery_s() {
    let (celery, ours) = (run(Kind::Celery), run(Kind::Celeriac));
    assert!(celery["checks"].as_object().is_some_and(|checks| checks.len() > 25), "{celery}");
    assert_same(&celery, &ours);
}
