//! Messages as Celery 5.6 sends them.

use std::time::Duration;

use celeriac_testkit::{AmqpProbe, Field, TaskMessage, eventually};

/// The queue of every benchmark, and Celery's default.
pub const QUEUE: &str = "celery";

/// Declares [`QUEUE`] and puts `count` persistent messages of `tasks.noop` into it, results ignored.
pub fn fill(probe: &mut AmqpProbe, count: u32) {
    probe.declare(QUEUE);
    (0..count).for_each(|number| publish(probe, "tasks.noop", number));
    probe.flush();
    eventually(Duration::from_secs(60), "the queue holds all messages", || {
        (probe.queue(QUEUE)?.depth == count).then_some(())
    });
}

/// Puts one persistent message of a task, with this argument, into [`QUEUE`]; it goes off when the probe is flushed.
pub fn publish(probe: &mut AmqpProbe, task: &str, number: u32) {
    let id = format!("a807b12a-a70d-4bb3-9777-{number:012}");
    let body = format!(
        r#"[[{number}], {{}}, {{"callbacks": null, "errbacks": null, "chain": null, "chord": null}}]"#
    );
    let args = format!("({number},)");
    let message = TaskMessage {
        content_type: "application/json",
        headers: headers(task, &id, &args),
        correlation_id: &id,
        reply_to: "b13cdb3b-37e1-3405-bf02-b312c707af08",
        body: body.as_bytes(),
    };
    probe.publish(QUEUE, &message);
}

fn headers<'a>(task: &'a str, id: &'a str, args: &'a str) -> Vec<(&'a str, Field<'a>)> {
    vec![
        ("lang", Field::Text("py")),
        ("task", Field::Text(task)),
        ("id", Field::Text(id)),
        ("shadow", Field::Void),
        ("eta", Field::Void),
        ("expires", Field::Void),
        ("group", Field::Void),
        ("group_index", Field::Void),
        ("retries", Field::Int(0)),
        ("timelimit", Field::List(vec![Field::Void, Field::Void])),
        ("root_id", Field::Text(id)),
        ("parent_id", Field::Void),
        ("argsrepr", Field::Text(args)),
        ("kwargsrepr", Field::Text("{}")),
        ("origin", Field::Text("gen19433@example")),
        ("ignore_result", Field::Bool(true)),
        ("replaced_task_nesting", Field::Int(0)),
        ("stamped_headers", Field::Void),
        ("stamps", Field::Table(Vec::new())),
    ]
}
