//! Chords: the last part calls the body.

use celeriac_protocol::{Map, Signature, State, TaskMeta, Value};
use celeriac_results::ResultStore;
use celeriac_worker::{Call, Shutdown, TaskError, TaskOptions};

use crate::support::{Closure, Rig, echo, eventually, failure, ints, task};

fn fails() -> Closure {
    task("fails", TaskOptions::default(), |_, _| async { Err(TaskError::new("ValueError", "it broke")) })
}

/// `echo` of the first argument, by an id.
fn signature(id: &str) -> Signature {
    let options = [("task_id", id.into())].into_iter().collect();
    Signature { options, ..Signature::new("echo", Vec::new()) }
}

fn compound(kind: &str, tasks: Vec<Signature>, options: Map) -> Signature {
    let tasks: Vec<_> = tasks.into_iter().map(Signature::into_value).collect();
    Signature {
        kwargs: [("tasks", tasks.into())].into_iter().collect(),
        subtask_type: Some(kind.to_owned()),
        options,
        ..Signature::new(format!("celery.{kind}"), Vec::new())
    }
}

/// One that calls `echo` by an id.
fn chord(id: &str, header: Vec<Signature>) -> Signature {
    let header = compound("group", header, Map::new()).into_value();
    let body = Signature::new("echo", Vec::new()).into_value();
    Signature {
        kwargs: [("header", header), ("body", body), ("kwargs", Map::new().into())].into_iter().collect(),
        subtask_type: Some("chord".to_owned()),
        options: [("task_id", id.into())].into_iter().collect(),
        ..Signature::new("celery.chord", Vec::new())
    }
}

fn part(task: &str, value: i64, place: i64, body: &Signature) -> Call {
    let mut call = Call::new(task, ints(&[value]));
    call.options.group_id = Some("g".to_owned());
    call.options.group_index = Some(place);
    call.embed.chord = Some(body.clone());
    call
}

async fn is_pending(rig: &Rig, id: &str) -> bool {
    rig.store.fetch(id).await.unwrap().state == State::Pending
}

#[tokio::test]
async fn the_body_is_called_with_all_results_in_their_order() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let body = signature("body");
    rig.store.set_chord_size("g", 3).await.unwrap();
    for (id, value, place) in [("c", 30, 2), ("a", 10, 0)] {
        rig.send(id, part("echo", value, place, &body)).await;
        rig.result(id).await;
    }
    assert!(is_pending(&rig, "body").await);
    // A result that nobody wants counts too.
    let mut last = part("echo", 20, 1, &body);
    last.options.ignore_result = Some(true);
    rig.send("b", last).await;
    let meta = rig.result("body").await;
    assert_eq!(meta.result, ints(&[10, 20, 30]).into());
    assert_eq!(meta.parent_id.as_deref(), Some("b"));
    worker.end(Shutdown::Warm).await.unwrap();
}

/// A chain is called by its first, and a group by each of its members.
#[tokio::test]
async fn a_body_may_be_a_chain_or_a_group() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let chain = compound(
        "chain",
        vec![signature("first"), Signature::new("echo", Vec::new())],
        [("task_id", "last".into())].into_iter().collect(),
    );
    let group = compound("group", vec![signature("one"), signature("two")], Map::new());
    for (body, ids) in [(chain, ["first", "last"]), (group, ["one", "two"])] {
        rig.store.set_chord_size("g", 1).await.unwrap();
        rig.send("a", part("echo", 1, 0, &body)).await;
        for id in ids {
            assert_eq!(rig.result(id).await.result, ints(&[1]).into(), "{id}");
        }
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

/// The body has failed, and its errbacks hear so, whatever way a part failed.
#[tokio::test]
async fn a_part_that_fails_fails_the_body() {
    let mut rig = Rig::new().with(echo()).with(fails());
    rig.settings.concurrency = 1;
    let worker = rig.start();
    for (number, how) in ["fails", "callback", "chain", "revoked"].into_iter().enumerate() {
        let ids = [format!("body{number}"), format!("errback{number}"), format!("part{number}")];
        let [body, errback, failed] = &ids;
        let mut signature_of_body = signature(body);
        signature_of_body.options.insert("link_error", vec![signature(errback).into_value()]);
        rig.store.set_chord_size("g", 2).await.unwrap();
        rig.send(&format!("good{number}"), part("echo", 1, 0, &signature_of_body)).await;
        let mut call = part(if how == "fails" { how } else { "echo" }, 2, 1, &signature_of_body);
        match how {
            "callback" => call.embed.callbacks.push(compound("xmap", Vec::new(), Map::new())),
            "chain" => {
                // The part is the last of a chain whose first fails.
                let mut last = signature(failed);
                last.options.insert("group_id", "g");
                last.options.insert("chord", signature_of_body.clone().into_value());
                call = Call::new("fails", Vec::new());
                call.embed.chain = vec![last];
            }
            "revoked" => {
                call.options.expires = Some(celeriac_worker::Expires::At(chrono::DateTime::UNIX_EPOCH))
            }
            _ => {}
        }
        rig.send(if how == "chain" { "first" } else { failed }, call).await;
        let (kind, text) = failure(&rig.result(body).await);
        assert_eq!(kind, "ChordError");
        assert!(text.starts_with(&format!("Dependency {failed} raised ")), "{how}: {text}");
        assert_eq!(rig.result(errback).await.result, body.as_str().into(), "{how}");
        assert_ne!(rig.result(failed).await.state, State::Success, "{how}");
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

/// What waits for the members of a group hears of the part's own error, as Celery has it.
#[tokio::test]
async fn a_group_that_is_never_called_has_failed() {
    let rig = Rig::new().with(echo()).with(fails());
    let worker = rig.start();
    let body = compound("group", vec![signature("one"), signature("two")], Map::new());
    rig.store.set_chord_size("g", 1).await.unwrap();
    rig.send("a", part("fails", 1, 0, &body)).await;
    for id in ["one", "two"] {
        assert_eq!(failure(&rig.result(id).await), ("ValueError".to_owned(), "it broke".to_owned()));
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

/// The body of a chord may be a part of another one, which hears that it is never called.
#[tokio::test]
async fn a_body_that_is_never_called_is_a_part_that_failed() {
    let rig = Rig::new().with(echo()).with(fails());
    let worker = rig.start();
    for kind in ["task", "chain", "chain that is told its place", "group"] {
        let (inner, outer) = (format!("inner-{kind}"), format!("outer-{kind}"));
        let mut member = signature(&inner);
        member.options.insert("group_id", "h");
        member.options.insert("chord", signature(&outer).into_value());
        let options = [("task_id", inner.as_str().into())].into_iter().collect();
        let body = match kind {
            "task" => member,
            "chain" => compound(kind, vec![signature("first"), member], options),
            "chain that is told its place" => {
                compound("chain", vec![signature("first"), signature("last")], member.options)
            }
            _ => compound(kind, vec![member], Map::new()),
        };
        rig.store.set_chord_size("g", 1).await.unwrap();
        rig.store.set_chord_size("h", 2).await.unwrap();
        let mut good = part("echo", 1, 1, &signature(&outer));
        good.options.group_id = Some("h".to_owned());
        rig.send("good", good).await;
        rig.send("bad", part("fails", 1, 0, &body)).await;
        let (error, text) = failure(&rig.result(&outer).await);
        let cause = if kind == "group" { "ValueError" } else { "ChordError" };
        assert_eq!(error, "ChordError");
        assert!(text.starts_with(&format!("Dependency {inner} raised {cause}(")), "{text}");
        assert!(rig.store.fetch(&inner).await.unwrap().exception().is_some(), "{kind}");
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_body_that_cannot_be_called_has_failed() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let mut body = signature("body");
    body.options.insert("exchange", "nowhere");
    rig.store.set_chord_size("g", 1).await.unwrap();
    rig.send("a", part("echo", 1, 0, &body)).await;
    let (kind, text) = failure(&rig.result("body").await);
    assert!(kind == "ChordError" && text.starts_with("Callback error: "), "{kind}: {text}");
    assert_eq!(rig.result("a").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

/// A chain that goes on with a chord: its header is sent, and whoever ends last calls its body.
#[tokio::test]
async fn a_chain_goes_on_with_a_chord() {
    let pair = task("pair", TaskOptions::default(), |_, args| async { Ok(args.into()) });
    let rig = Rig::new().with(echo()).with(pair);
    let worker = rig.start();
    let member = |own: i64| Signature::new("pair", ints(&[own]));
    let inner = compound("chain", vec![member(2), Signature::new("echo", Vec::new())], Map::new());
    let mut call = Call::new("echo", ints(&[7]));
    call.embed.chain = vec![chord("body", vec![member(1), inner])];
    rig.send("a", call).await;
    let expected = Value::List(vec![ints(&[7, 1]).into(), ints(&[7, 2]).into()]);
    assert_eq!(rig.result("body").await.result, expected);
    worker.end(Shutdown::Warm).await.unwrap();
}

/// The last of a chain that is a task counts, and is what the chord waits for.
#[tokio::test]
async fn what_is_empty_at_a_chain_s_end_is_passed_over() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let empty = |kind| compound(kind, Vec::new(), Map::new());
    let inner = |kind| compound("chain", vec![Signature::new("echo", Vec::new()), empty(kind)], Map::new());
    let nested = compound("chain", vec![inner("chain"), empty("group")], Map::new());
    for (id, header, expected) in [
        ("group", vec![inner("group"), Signature::new("echo", Vec::new())], ints(&[7, 7])),
        ("chain", vec![inner("chain"), Signature::new("echo", Vec::new())], ints(&[7, 7])),
        ("nested", vec![nested], ints(&[7])),
        ("nothing", vec![empty("chain"), empty("group")], Vec::new()),
    ] {
        let mut call = Call::new("echo", ints(&[7]));
        call.embed.chain = vec![chord(id, header)];
        rig.send(&format!("before {id}"), call).await;
        assert_eq!(rig.result(id).await.result, Value::List(expected), "{id}");
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

/// A signature from the network may lie in itself as deep as a message may; the worker's stack does not.
#[tokio::test]
async fn signatures_have_a_depth() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let mut deep = signature("x");
    for _ in 0..40 {
        let chord =
            [("header", compound("group", Vec::new(), Map::new()).into_value()), ("body", deep.into_value())];
        deep = Signature {
            kwargs: chord.into_iter().collect(),
            subtask_type: Some("chord".to_owned()),
            ..Signature::new("celery.chord", Vec::new())
        };
    }
    let mut call = Call::new("echo", ints(&[1]));
    call.embed.callbacks = vec![deep];
    rig.send("a", call).await;
    let text = eventually("an end", || async {
        let meta: TaskMeta = rig.store.fetch("a").await.unwrap();
        meta.state.is_ready().then(|| failure(&meta).1)
    })
    .await;
    assert!(text.contains("deep"), "{text}");
    worker.end(Shutdown::Warm).await.unwrap();
}
