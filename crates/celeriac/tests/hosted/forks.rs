//! An app that starts threads and opens sockets when it is imported.

use serde_json::json;

use super::{Kind, Site, assert_same, end};

#[test]
fn threads_and_sockets_of_the_import_do_no_harm() {
    let run = |kind: Kind| {
        let site = Site::new("threaded", "threaded");
        // Children are forked all the time, whatever the threads are doing.
        let worker = site.worker(kind, &["-c", "2", "-n", "w1@test", "--max-tasks-per-child", "10"]);
        let told = site.python(&["client.py"]);
        end(&worker);
        told
    };
    let (celery, ours) = (run(Kind::Celery), run(Kind::Celeriac));
    assert_same(&celery, &ours);
    assert_eq!(ours["results"], json!((0..200).map(|n| 2 * n).collect::<Vec<_>>()), "{ours}");
}
