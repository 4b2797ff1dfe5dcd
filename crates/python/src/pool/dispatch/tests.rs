use super::stock::{REST, STUCK};
use super::*;

/// A machine in virtual time.
struct Bench {
    dispatch: Dispatch,
    now: Instant,
    last: Token,
}

impl Bench {
    /// With children that are up.
    fn new(children: usize) -> Self {
        Bench::of(Kind::Prefork, children)
    }

    fn of(kind: Kind, children: usize) -> Self {
        let now = Instant::now();
        let mut bench =
            Bench { dispatch: Dispatch::new(kind, children, Duration::from_secs(4), now), now, last: 0 };
        for action in bench.turn() {
            let Action::Fork(id, _) = action else { panic!("{action:?}") };
            bench.dispatch.up(id);
        }
        bench
    }

    /// In which tasks named `short` are known to be so, 100 µs each.
    fn knowing(children: usize) -> Self {
        let mut bench = Bench::new(children);
        let [token] = bench.submit("short", 1)[..] else { panic!() };
        bench.turn();
        bench.answer(1, token, Duration::from_micros(100));
        bench
    }

    fn submit(&mut self, name: &str, count: u64) -> Vec<Token> {
        let tokens: Vec<Token> = (self.last + 1..=self.last + count).collect();
        self.last += count;
        for token in &tokens {
            self.dispatch.submit(*token, Job { name: name.into(), soft: None, hard: None, is_light: true });
        }
        tokens
    }

    fn turn(&mut self) -> Vec<Action> {
        self.dispatch.turn(self.now)
    }

    fn later(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.turn()
    }

    fn answer(&mut self, id: Id, token: Token, run: Duration) {
        assert!(self.dispatch.answered(id, token, Some(run), self.now));
    }
}

fn sent(actions: &[Action]) -> Vec<(Id, Vec<Token>)> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(id, tokens) => Some((*id, tokens.clone())),
        _ => None,
    });
    sent.collect()
}

#[test]
fn what_is_not_known_to_be_short_goes_to_idle_children_alone() {
    let mut bench = Bench::new(2);
    bench.submit("long", 3);
    assert_eq!(sent(&bench.turn()), [(1, vec![1]), (2, vec![2])]);
    assert_eq!(bench.turn(), []);
    bench.answer(2, 2, Duration::from_secs(1));
    assert_eq!(sent(&bench.turn()), [(2, vec![3])]);
}

#[test]
fn short_ones_travel_together_within_what_is_expected_to_take_five_milliseconds() {
    let mut bench = Bench::knowing(1);
    bench.submit("short", 200);
    let packets = sent(&bench.turn());
    assert_eq!(packets.iter().map(|(_, tokens)| tokens.len()).sum::<usize>(), 50, "5 ms of 100 µs");
    assert!(packets.iter().all(|(_, tokens)| tokens.len() <= PACKET));
    let first: Vec<Token> = packets.into_iter().flat_map(|(_, tokens)| tokens).collect();
    assert!(first.is_sorted());
    for token in &first[..16] {
        bench.answer(1, *token, Duration::from_micros(100));
    }
    assert_eq!(sent(&bench.turn()).iter().map(|(_, tokens)| tokens.len()).sum::<usize>(), 16);
}

#[test]
fn short_ones_are_shared_by_idle_children() {
    let mut bench = Bench::knowing(2);
    bench.submit("short", 4);
    assert_eq!(sent(&bench.turn()), [(1, vec![2, 4]), (2, vec![3, 5])]);
}

#[test]
fn nothing_is_given_ahead_to_a_child_that_runs_something_long() {
    let mut bench = Bench::knowing(1);
    bench.submit("long", 1);
    bench.submit("short", 5);
    assert_eq!(sent(&bench.turn()), [(1, vec![2])]);
    assert_eq!(bench.later(Duration::from_secs(1)), []);
}

#[test]
fn what_waits_behind_one_that_turns_out_to_be_long_is_taken_back_and_run_by_another() {
    let mut bench = Bench::knowing(2);
    bench.submit("short", 6);
    assert_eq!(sent(&bench.turn()), [(1, vec![2, 4, 6]), (2, vec![3, 5, 7])]);
    for token in [3, 5, 7] {
        bench.answer(2, token, Duration::from_micros(100));
    }
    assert_eq!(bench.later(Duration::from_millis(4)), []);
    assert_eq!(bench.later(Duration::from_millis(1)), [Action::TakeBack(1)]);
    bench.dispatch.taken_back(1, &[4, 6]);
    assert_eq!(sent(&bench.turn()), [(2, vec![4, 6])]);
    assert_eq!(bench.dispatch.children[&1].given, [2]);
}

#[test]
fn a_child_that_is_heard_in_time_keeps_what_it_has() {
    let mut bench = Bench::knowing(1);
    bench.submit("short", 20);
    bench.turn();
    for token in 2..20 {
        bench.now += Duration::from_millis(3);
        bench.answer(1, token, Duration::from_millis(3) / 30);
        assert!(!bench.turn().contains(&Action::TakeBack(1)), "{token}");
    }
}

#[test]
fn what_a_dead_child_has_not_begun_runs_first_and_what_it_ran_is_lost() {
    let mut bench = Bench::knowing(1);
    bench.submit("short", 5);
    bench.turn();
    bench.answer(1, 2, Duration::from_micros(100));
    // Since then 3 has ended, without being heard, and 4 runs.
    let ended = bench.dispatch.ended(1, &[4], 1 + 3, bench.now);
    assert_eq!(ended, Ended { lost: vec![4], unheard: vec![3] });
    bench.submit("short", 1);
    assert_eq!(bench.turn(), [Action::Fork(2, 0)]);
    bench.dispatch.up(2);
    assert_eq!(sent(&bench.turn()), [(2, vec![5, 6, 7])]);
}

#[test]
fn a_child_that_says_goodbye_is_replaced_and_loses_nothing() {
    let mut bench = Bench::new(1);
    bench.submit("long", 2);
    bench.turn();
    bench.dispatch.leaves(1);
    assert_eq!(bench.turn(), [Action::Fork(2, 1)], "in another slot while the first is there");
    assert_eq!(bench.dispatch.ended(1, &[], 0, bench.now), Ended::default());
    bench.dispatch.up(2);
    assert_eq!(sent(&bench.turn()), [(2, vec![1])]);
}

#[test]
fn a_child_that_does_not_come_up_is_killed_and_its_place_is_taken_after_a_pause() {
    let now = Instant::now();
    let mut dispatch = Dispatch::new(Kind::Prefork, 1, Duration::from_secs(4), now);
    assert_eq!(dispatch.turn(now), [Action::Fork(1, 0)]);
    let late = now + Duration::from_secs(4);
    assert_eq!(dispatch.next(now), Some(late));
    assert_eq!(dispatch.turn(late), [Action::Kill(1)]);
    dispatch.ended(1, &[], 0, late);
    assert_eq!(dispatch.turn(late), []);
    assert_eq!(dispatch.next(late), Some(late + PAUSE));
    assert_eq!(dispatch.turn(late + PAUSE), [Action::Fork(2, 0)]);
}

#[test]
fn limits_are_looked_at_in_time_and_forgotten_with_their_job() {
    let mut bench = Bench::new(1);
    let limits = |soft, hard| Job { name: "long".into(), soft, hard, is_light: true };
    bench.dispatch.submit(1, limits(Some(Duration::from_secs(1)), Some(Duration::from_secs(2))));
    bench.turn();
    assert_eq!(bench.later(Duration::from_secs(1)), [Action::Look(1, 1, Bound::Soft)]);
    bench.dispatch.bound(1, Bound::Soft, bench.now + Duration::from_millis(300));
    assert_eq!(bench.later(Duration::from_millis(300)), [Action::Look(1, 1, Bound::Soft)]);
    bench.answer(1, 1, Duration::from_secs(1));
    assert_eq!(bench.later(Duration::from_secs(9)), []);
    assert!(bench.dispatch.timers.is_empty() && bench.dispatch.jobs.is_empty());
}

#[test]
fn nobody_looks_at_the_limits_of_what_cannot_be_ended() {
    let mut bench = Bench::of(Kind::Threads, 1);
    let second = Some(Duration::from_secs(1));
    bench.dispatch.submit(1, Job { name: "long".into(), soft: second, hard: second, is_light: true });
    bench.turn();
    assert_eq!(bench.later(Duration::from_secs(9)), []);
}

#[test]
fn a_child_that_is_condemned_gets_nothing_and_is_killed_if_it_stays() {
    let mut bench = Bench::new(1);
    bench.submit("long", 2);
    bench.turn();
    bench.dispatch.condemn(1, bench.now);
    assert_eq!(bench.turn(), [Action::Fork(2, 1)]);
    assert_eq!(bench.later(GRACE), [Action::Kill(1)]);
}

#[test]
fn children_come_and_go_by_the_limit() {
    let mut bench = Bench::new(2);
    bench.submit("long", 1);
    bench.turn();
    bench.dispatch.resize(1);
    assert_eq!(bench.turn(), [Action::Exit(2)], "the idle one");
    bench.dispatch.resize(3);
    assert_eq!(bench.turn(), [Action::Fork(3, 2), Action::Fork(4, 3)]);
    bench.dispatch.ended(2, &[], 0, bench.now);
    bench.dispatch.resize(0);
    assert_eq!(bench.turn(), [Action::Exit(3), Action::Exit(4), Action::Exit(1)]);
}

#[test]
fn without_a_zygote_no_child_is_asked_for() {
    let mut bench = Bench::new(1);
    bench.dispatch.can_start(false, bench.now);
    bench.dispatch.ended(1, &[], 0, bench.now);
    assert_eq!(bench.later(Duration::from_secs(60)), []);
    bench.dispatch.can_start(true, bench.now);
    assert_eq!(bench.turn(), [Action::Fork(2, 0)]);
}

#[test]
fn a_socket_that_is_full_is_tried_again_later() {
    let mut bench = Bench::new(1);
    bench.submit("long", 1);
    bench.turn();
    bench.dispatch.refused(1, &[1], bench.now);
    assert_eq!(bench.turn(), []);
    assert_eq!(sent(&bench.later(AHEAD)), [(1, vec![1])]);
}

#[test]
fn jobs_that_share_a_child_run_at_once_up_to_the_limit() {
    let mut bench = Bench::of(Kind::Threads, 3);
    bench.submit("any", 5);
    assert_eq!(sent(&bench.turn()), [(1, vec![1, 2, 3])]);
    bench.answer(1, 2, Duration::from_micros(1));
    assert_eq!(sent(&bench.turn()), [(1, vec![4])]);
    assert_eq!(bench.later(Duration::from_secs(1)), [], "none of them waits for another");
    bench.dispatch.resize(4);
    assert_eq!(bench.turn(), [Action::Send(1, vec![5])]);
    bench.dispatch.resize(1);
    assert_eq!(bench.turn(), [], "one child still runs all");
}

#[test]
fn all_that_runs_in_a_shared_child_is_lost_with_it() {
    let mut bench = Bench::of(Kind::Asyncio, 4);
    bench.submit("any", 4);
    bench.turn();
    let ended = bench.dispatch.ended(1, &[4, 2], 0, bench.now);
    assert_eq!(ended, Ended { lost: vec![4, 2], unheard: vec![] });
    assert_eq!(bench.turn(), [Action::Fork(2, 0)]);
    bench.dispatch.up(2);
    assert_eq!(sent(&bench.turn()), [(2, vec![1, 3])]);
}

#[test]
fn solo_stays_alone() {
    let mut bench = Bench::of(Kind::Solo, 1);
    bench.dispatch.resize(4);
    assert_eq!((bench.turn(), bench.dispatch.limit()), (vec![], 1));
}

/// Runs so many that are short, one after the other.
fn run_short(bench: &mut Bench, count: u32) {
    for _ in 0..count {
        let token = bench.submit("short", 1)[0];
        let id = sent(&bench.turn())[0].0;
        bench.answer(id, token, Duration::from_micros(100));
    }
}

/// Runs one that is not.
fn run_long(bench: &mut Bench, run: Duration) {
    let token = bench.submit("long", 1)[0];
    let id = sent(&bench.turn())[0].0;
    bench.answer(id, token, run);
}

#[test]
fn there_is_a_stock_of_what_is_done_within_what_is_given_ahead() {
    let mut bench = Bench::knowing(2);
    run_short(&mut bench, 256);
    assert_eq!(bench.dispatch.stock(), 0);
    run_short(&mut bench, 1_024);
    assert_eq!(bench.dispatch.stock(), 2 * 16);
    bench.later(Duration::from_secs(5));
    assert_eq!(bench.dispatch.next(bench.now), None, "nobody is woken while nothing runs");
    run_long(&mut bench, Duration::from_millis(20));
    assert_eq!(bench.dispatch.stock(), 2 * 16, "the next ones are short all the same");
    run_long(&mut bench, Duration::from_secs(3_600));
    assert_eq!(bench.dispatch.stock(), 0);
    run_short(&mut bench, 1_024);
    assert_eq!(bench.dispatch.stock(), 0, "it does not come and go");
    bench.now += REST;
    run_short(&mut bench, 1);
    assert_eq!(bench.dispatch.stock(), 2 * 16, "an hour is forgotten like a second");
}

#[test]
fn there_is_no_stock_of_what_is_acknowledged_late_or_large() {
    let mut bench = Bench::knowing(1);
    run_short(&mut bench, 2_048);
    assert_eq!(bench.dispatch.stock(), 16);
    for _ in 0..2_048 {
        bench.last += 1;
        let heavy = Job { name: "short".into(), soft: None, hard: None, is_light: false };
        bench.dispatch.submit(bench.last, heavy);
        bench.turn();
        bench.now += Duration::from_secs(9);
        bench.answer(1, bench.last, Duration::from_micros(100));
        run_short(&mut bench, 1);
        assert_eq!(bench.dispatch.stock(), 0);
    }
    bench.now += REST;
    run_short(&mut bench, 1);
    assert_eq!(bench.dispatch.stock(), 16);
}

#[test]
fn children_that_share_a_process_have_no_stock() {
    let mut bench = Bench::of(Kind::Threads, 4);
    run_short(&mut bench, 2_048);
    assert_eq!(bench.dispatch.stock(), 0);
}

#[test]
fn there_is_no_stock_once_no_child_has_answered_for_long() {
    for names in [["short", "short"], ["long", "long"], ["short", "long"], ["long", "short"]] {
        let mut bench = Bench::knowing(2);
        run_short(&mut bench, 2_048);
        for name in [names, ["long", "short"]].concat() {
            bench.submit(name, 1);
        }
        bench.turn();
        let end = bench.now + STUCK;
        while bench.now < end {
            assert_eq!(bench.dispatch.stock(), 2 * 16, "{names:?}");
            bench.now = bench.dispatch.next(bench.now).unwrap();
            bench.turn();
        }
        assert_eq!((bench.now, bench.dispatch.stock()), (end, 0), "{names:?}");
    }
}

#[test]
fn a_child_that_is_free_keeps_the_stock_and_none_that_is_there_does_not() {
    let mut bench = Bench::knowing(2);
    run_short(&mut bench, 2_048);
    bench.submit("long", 1);
    bench.turn();
    bench.later(Duration::from_secs(1));
    assert_eq!(bench.dispatch.stock(), 2 * 16);
    bench.dispatch.can_start(false, bench.now);
    for id in [1, 2] {
        bench.dispatch.ended(id, &[], 0, bench.now);
    }
    bench.turn();
    assert_eq!(bench.dispatch.stock(), 2 * 16, "others may be there in a moment");
    bench.later(STUCK);
    assert_eq!(bench.dispatch.stock(), 0);
}
