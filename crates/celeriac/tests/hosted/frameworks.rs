//! Frameworks that have their own way to an app.

use serde_json::{Value, json};

use super::{Kind, Site, assert_same, end};

/// What a client prints, once the app is prepared, with a worker of this kind.
fn run(kind: Kind, folder: &str, app: &'static str) -> Value {
    let site = Site::new(folder, app);
    site.python(&["client.py", "prepare"]);
    let worker = site.worker(kind, &["-c", "2", "-n", "w1@test"]);
    let told = site.python(&["client.py", "check"]);
    end(&worker);
    told
}

#[test]
fn a_django_project_stores_its_results_in_its_database() {
    let (celery, ours) = (run(Kind::Celery, "django", "shop"), run(Kind::Celeriac, "django", "shop"));
    assert_same(&celery, &ours);
    assert_eq!(ours["stored"]["shop.tasks.fail"], json!(["FAILURE", "w1@test"]), "{ours}");
    assert_eq!(ours["orders"], json!(["paid"]), "{ours}");
}

#[test]
fn a_flask_app_runs_its_tasks_in_its_context() {
    let app = "make_celery";
    let (celery, ours) = (run(Kind::Celery, "flask", app), run(Kind::Celeriac, "flask", app));
    assert_same(&celery, &ours);
    assert_eq!(ours["greeting"], "Hello from shop", "{ours}");
}
