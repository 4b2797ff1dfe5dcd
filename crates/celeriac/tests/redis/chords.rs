//! Chords that Python's clients send, whose parts and bodies are run by Python's workers and by ours.

use celeriac_testkit::Signal;

use super::{DEADLINE, Site};

/// `ours` and `theirs` make signatures of `tasks.…` for one worker each.
const PRELUDE: &str = r#"
import time
from celery import chord, group, chain
from celery.exceptions import ChordError
def to(queue):
    return lambda task, *args, **options: app.signature('tasks.' + task, args=args, queue=queue, **options)
ours, theirs = to('rust'), to('celery')
def value(id):
    # `get()` of a task that is not ours to send misses what is published while it subscribes.
    until = time.time() + 60
    while not app.AsyncResult(id).ready() and time.time() < until:
        time.sleep(.01)
    return app.AsyncResult(id).result
def left():
    return [key for key in app.backend.client.keys('*taskset*') if key[-2:] in (b'.j', b'.t', b'.s')]
"#;

fn run(options: &[&str], script: &str) -> String {
    let site = Site::new();
    let worker = site.ours("rs", &[&["-Q", "rust", "-c", "4"], options].concat());
    let python = site.theirs("py", &["-Q", "celery"]);
    let printed = site.python(&format!("{PRELUDE}{script}"));
    python.stop();
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    printed.trim().to_owned()
}

/// Whoever ends last calls the body, with the results in the order of the header; nothing stays.
#[test]
fn whoever_ends_last_calls_the_body() {
    let script = r#"
for body in ours, theirs:
    both = [maker('add', n, n) for n in range(50) for maker in (ours, theirs)]
    assert chord(both)(body('xsum')).get(timeout=60) == 4 * sum(range(50))
    for last in ours, theirs:
        header = [last('sleep', .3), theirs('echo', 'b'), ours('echo', 'c'), ours('echo', None), theirs('echo', [1.5, {'a': 'ö'}])]
        seen = chord(header)(body('echo')).get(timeout=60)
        assert seen == [.3, 'b', 'c', None, [1.5, {'a': 'ö'}]], seen
    assert chord([ours('echo', 1, ignore_result=True), theirs('echo', 2)])(body('xsum')).get(timeout=60) == 3
    assert (group([ours('echo', 1), theirs('echo', 2)]) | body('xsum') | ours('add', 1) | theirs('add', 1))().get(timeout=60) == 5
    assert chord([ours('flaky', 1), theirs('echo', 4)])(body('xsum')).get(timeout=60) == 5
assert not left(), left()
"#;
    run(&[], script);
}

/// The body has failed, its errbacks are called, and the parts keep their results.
#[test]
fn a_part_that_fails_fails_the_body() {
    let script = r#"
import uuid
for body in ours, theirs:
    for last in ours, theirs:
        for bad in ours('fail', 'it broke'), theirs('fail', 'it broke'), chain(ours('fail', 'it broke'), ours('echo')):
            errback = str(uuid.uuid4())
            called = body('xsum')
            called.link_error(ours('echo', task_id=errback))
            result = chord([bad, last('sleep', .2)])(called)
            error = result.get(timeout=60, propagate=False)
            part = result.parent.results[0].id
            assert isinstance(error, ChordError), repr(error)
            assert str(error) == f"Dependency {part} raised ValueError('it broke')", error
            assert value(errback) == result.id
            assert value(result.parent.results[1].id) == .2
# With Python's worker the outer one waits for ever.
for inner in ours('echo'), chain(theirs('echo'), ours('echo')):
    nested = chord([chord([ours('fail', 'it broke')], inner), theirs('echo', 4)], theirs('xsum'))
    error = nested.apply_async().get(timeout=60, propagate=False)
    assert isinstance(error, ChordError) and 'raised ChordError(' in str(error), repr(error)
"#;
    run(&[], script);
}

/// Chains, groups and chords in headers, and what comes after a task of ours: as Python's own worker has it.
#[test]
fn what_is_nested_ends_as_with_python_alone() {
    let script = r#"
def shapes(a, b):
    return [
        chord([group(a('echo', 1), b('echo', 2)), chain(b('add', 1, 1), a('add', 1)), a('echo', 4)], b('echo')),
        chord([chord([a('echo', 1), b('echo', 2)], a('xsum')), b('echo', 4)], a('echo')),
        chain(a('echo', 5), group(a('add', 1), b('add', 2)), a('xsum'), b('add', 1)),
        chain(group(a('echo', 5), b('echo', 6)), group(a('echo'), b('echo')), b('echo')),
        chord([a('echo', 1)], chain(b('echo'), a('echo'), b('xsum'))),
    ]
alone = [shape.apply_async().get(timeout=60) for shape in shapes(theirs, theirs)]
for makers in (ours, theirs), (theirs, ours), (ours, ours):
    seen = [shape.apply_async().get(timeout=60) for shape in shapes(*makers)]
    assert seen == alone, (seen, alone)
print(alone)
# Python's worker hangs when it has to join a header that ends in a group; ours does not.
nested = chord([chain(ours('echo', 1), group(ours('add', 1), ours('add', 2))), ours('echo', 4)], theirs('echo'))
print(nested.apply_async().get(timeout=60))
"#;
    let seen = run(&[], script);
    assert_eq!(seen, "[[2, 1, 3, 4], [3, 4], 14, [[5, 6], [5, 6]], 1]\n[[2, 3], 4]");
}

/// Without an order, which both sides must be told.
#[test]
fn results_may_come_in_the_order_of_their_ends() {
    let script = r#"
app.conf.result_backend_transport_options = {'result_chord_ordered': False}
for last in range(3):
    header = [ours('sleep', .6 if n == last else n / 10) for n in range(3)]
    expected = sorted((.6 if n == last else n / 10) for n in range(3))
    seen = chord(header)(ours('echo')).get(timeout=60)
    assert seen == expected, seen
assert not left(), left()
"#;
    run(&["result_chord_ordered=false"], script);
}
