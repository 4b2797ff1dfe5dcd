//! Jobs: how they come to a child and back.

use celeriac_protocol::Value;
use celeriac_python::host::marshal::Writer;
use celeriac_python::host::{Body, Bye, Call, Cancel, Event, HostError, Job, Message, Signal, State};
use celeriac_testkit::eventually;

use super::{Host, PATIENCE, Task, answer, answers, request, send, soon};

#[tokio::test]
async fn jobs_of_one_packet_are_answered_in_order() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let tasks = [
        ("basic.add", "[2, 3]", State::Ok, "5"),
        ("basic.fail", "[\"bad\"]", State::Failure, "ValueError('bad')"),
        ("basic.ignored", "[]", State::Ignore, ""),
        ("basic.rejected", "[true]", State::Reject { requeue: true }, "no"),
    ];
    let calls: Vec<Task> =
        tasks.iter().map(|(name, arguments, ..)| Task::new("id", name, arguments)).collect();
    let jobs: Vec<Job<'_>> = calls.iter().zip(u64::MAX - 4..).map(|(call, token)| call.job(token)).collect();
    assert_eq!(child.send(&jobs).unwrap(), 4);
    for ((answer, job), (.., state, text)) in answers(&child, 4).await.iter().zip(&jobs).zip(&tasks) {
        assert_eq!((answer.token, answer.state, answer.text.as_str()), (job.token, *state, *text));
        assert_eq!(answer.traceback.contains("Traceback"), *state == State::Failure, "{answer:?}");
    }
    assert_eq!(child.begun().unwrap(), 4);
}

#[tokio::test]
async fn bodies_of_any_size_arrive_and_decoded_ones() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let sizes = [10, 32_000, 40_000, 3_000_000];
    let tasks = sizes.map(|size| Task::new("id", "basic.length", &format!("[\"{}\"]", "x".repeat(size))));
    let jobs: Vec<Job<'_>> = tasks.iter().zip(1..).map(|(task, token)| task.job(token)).collect();
    assert_eq!(child.send(&jobs).unwrap(), jobs.len());
    let lengths: Vec<String> = answers(&child, 4).await.into_iter().map(|answer| answer.text).collect();
    assert_eq!(lengths, sizes.map(|size| size.to_string()));

    let mut arguments = Writer::new();
    arguments.tuple(3).list(2).int(2).int(5).dict().end().dict().end();
    let (arguments, request) = (arguments.finish().unwrap(), request("id", "basic.add", ""));
    let call = Call { name: "basic.add", id: "id", request: &request, body: Body::Decoded(&arguments) };
    assert_eq!(child.send(&[Job { token: 9, call }]).unwrap(), 1);
    assert_eq!(answer(&child).await.text, "7");
}

#[tokio::test]
async fn a_full_socket_takes_what_there_is_room_for() {
    const JOBS: usize = 3000;
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let (blocker, task) =
        (Task::new("id", "basic.wait_for", "[\"go\"]"), Task::new("id", "basic.noop", "[]"));
    send(&child, &blocker, 1);
    host.note("waiting");
    let jobs: Vec<Job<'_>> = (2..).take(JOBS).map(|token| task.job(token)).collect();
    let mut sent = child.send(&jobs).unwrap();
    assert!(sent > 0 && sent < JOBS, "{sent}");
    assert_eq!(child.send(&jobs[sent..]).unwrap(), 0, "it is full");
    host.dir.write("go", "");
    let mut tokens = Vec::new();
    while tokens.len() <= JOBS {
        let Message::Done(answers) = soon(child.recv()).await.unwrap() else { panic!() };
        tokens.extend(answers.iter().map(|answer| answer.token));
        sent += child.send(&jobs[sent..]).unwrap(); // there is room again
    }
    assert!(tokens.into_iter().eq(1..=JOBS as u64 + 1));
}

#[tokio::test]
async fn headers_that_fit_into_no_packet_are_refused_alone() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let small = Task::new("id", "basic.noop", "[]");
    let mut large = Task::new("id", "basic.noop", "[]");
    large.request = request("id", "basic.noop", &"x".repeat(65_536));
    assert_eq!(child.send(&[small.job(1), large.job(2), small.job(3)]).unwrap(), 1);
    assert!(matches!(child.send(&[large.job(2), small.job(3)]), Err(HostError::TooLarge(2))));
    assert_eq!(child.send(&[small.job(3)]).unwrap(), 1);
    assert_eq!(answers(&child, 2).await.iter().map(|answer| answer.token).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn what_a_busy_child_has_not_taken_is_taken_back() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let (blocker, short) =
        (Task::new("id", "basic.wait_for", "[\"go\"]"), Task::new("id", "basic.noop", "[]"));
    let long = Task::new("id", "basic.length", &format!("[\"{}\"]", "x".repeat(50_000)));
    send(&child, &blocker, 1);
    host.note("waiting");
    assert_eq!(child.send(&[short.job(2), long.job(3)]).unwrap(), 2);
    child.exit().unwrap();
    send(&child, &short, u64::MAX);
    assert_eq!(child.take_back().unwrap(), [2, 3, u64::MAX]);
    assert!(child.take_back().unwrap().is_empty(), "but for what is no job");
    host.dir.write("go", "");
    assert_eq!(answer(&child).await.token, 1);
    assert_eq!(soon(child.recv()).await.unwrap(), Message::Bye(Bye::Exit));
}

#[tokio::test]
async fn the_soft_limit_hits_the_job_that_it_is_aimed_at() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    assert_eq!(child.running().unwrap(), None);
    send(&child, &Task::new("id", "basic.wait_for", "[\"never\", 600]"), 7);
    host.note("waiting");
    let running = child.running().unwrap().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    assert!(running.token == 7 && running.since <= now && now - running.since < PATIENCE.as_nanos() as u64);
    child.signal(Signal::USR1, 6).unwrap();
    assert_eq!(child.running().unwrap(), Some(running));
    child.signal(Signal::USR1, 7).unwrap();
    let answer = answer(&child).await;
    assert_eq!((answer.token, answer.state), (7, State::Failure));
    assert_eq!(answer.text, "SoftTimeLimitExceeded()");
    assert_eq!(child.running().unwrap(), None);
}

#[tokio::test]
async fn a_flush_gets_the_answers_that_wait_for_a_long_job() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let (short, long) =
        (Task::new("id", "basic.add", "[1, 1]"), Task::new("id", "basic.wait_for", "[\"go\"]"));
    assert_eq!(child.send(&[short.job(1), long.job(2)]).unwrap(), 2);
    host.note("waiting");
    child.flush().unwrap();
    assert_eq!(answer(&child).await.token, 1);
    host.dir.write("go", "");
    assert_eq!(answer(&child).await.token, 2);
}

#[tokio::test]
async fn a_child_that_has_run_enough_says_so_and_ends() {
    let mut host = Host::start("basic", &[("max_tasks_per_child", Value::Int(2))]).await;
    let child = host.child().await;
    let task = Task::new("id", "basic.noop", "[]");
    assert_eq!(child.send(&[task.job(1), task.job(2), task.job(3)]).unwrap(), 3);
    assert_eq!(answers(&child, 2).await.len(), 2);
    assert_eq!(soon(child.recv()).await.unwrap(), Message::Bye(Bye::Limit));
    assert!(matches!(host.event().await, Some(Event::Exited { pid, .. }) if pid == child.pid()));
    assert!(matches!(child.signal(Signal::USR1, 3), Err(HostError::Gone)));
}

#[tokio::test]
async fn coroutines_are_cancelled_one_by_one() {
    let host = Host::start("many", &[("pool", "asyncio".into()), ("concurrency", Value::Int(4))]).await;
    let child = host.child().await;
    for token in 1..=3 {
        send(&child, &Task::new("id", "many.sleeper", &format!("[\"{token}\"]")), token);
        let began = soon(child.recv()).await.unwrap();
        assert!(
            matches!(began, Message::Began { token: begun, since } if begun == token && since > 0),
            "{began:?}"
        );
        host.note(&format!("{token}-sleeps"));
    }
    let limit = Value::Int(3);
    let cancels = [Cancel::Soft, Cancel::Hard(&limit), Cancel::Revoke];
    let ends = [
        (State::Failure, "SoftTimeLimitExceeded()"),
        (State::Failure, "TimeLimitExceeded(3)"),
        (State::Ignore, ""),
    ];
    for ((token, cancel), (state, text)) in (1..).zip(cancels).zip(ends) {
        child.cancel(token, cancel).unwrap();
        let answer = answer(&child).await;
        assert_eq!((answer.token, answer.state, answer.text.as_str()), (token, state, text));
    }
}

#[tokio::test]
async fn a_page_tells_of_a_job_as_long_as_it_runs() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    send(&child, &Task::new("id", "basic.wait_for", "[\"go\"]"), 5);
    eventually(PATIENCE, "it runs", || child.running().unwrap().filter(|running| running.token == 5));
    host.dir.write("go", "");
    assert_eq!(answer(&child).await.text, "'go'");
    assert_eq!(child.running().unwrap(), None);
}
