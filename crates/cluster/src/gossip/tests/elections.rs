use super::network::{Network, Order, Random};
use super::peers::{Done, Peer};
use super::*;

fn name(peer: usize) -> String {
    format!("w{peer}")
}

/// A network of so many celeriac workers, of which the first ones are candidates; clocks are a bit apart.
fn network(mut random: Random, order: Order, candidates: usize, others: usize) -> Network {
    let peers = (0..candidates + others).map(|peer| Peer::celeriac(&name(peer), random.below(4) as u64, NOW));
    let peers = peers.collect();
    let mut network = Network::new(random, order, peers, &(0..candidates).collect::<Vec<_>>());
    network.beating = (0..candidates + others).map(|peer| (name(peer), "celeriac")).collect();
    network
}

/// All candidates that live agree, and the winner alone runs.
#[track_caller]
fn assert_one_winner(network: &Network, candidates: usize, seed: u64) -> String {
    let done = network.done();
    let living: Vec<&Done> =
        (0..candidates).filter(|peer| !network.is_dead(*peer)).map(|peer| &done[peer]).collect();
    let leader = living.first().and_then(|done| done.leaders.first()).cloned().unwrap_or_default();
    assert!(
        living.iter().all(|done| done.leaders == [leader.as_str()] && !done.expired),
        "seed {seed}: not one decision: {done:?}"
    );
    let runs: usize = done.iter().map(|done| done.runs).sum();
    let winner = (0..candidates).find(|peer| format!("{}.1", name(*peer)) == leader);
    let winner = winner.unwrap_or_else(|| panic!("seed {seed}: {leader:?} was no candidate"));
    let expected = if network.is_dead(winner) { done[winner].runs } else { 1 };
    assert_eq!((runs, done[winner].runs), (expected, expected), "seed {seed}: {done:?}");
    leader
}

#[test]
fn one_candidate_wins_in_whatever_order_messages_come() {
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let (candidates, others) = (2 + random.below(9), random.below(3));
        let order = if random.chance(20) { Order::Broker } else { Order::Links };
        let mut network = network(random, order, candidates, others);
        // Some messages are under way for seconds, longer than a decision settles, but shorter than patience.
        let all = candidates + others;
        network.pace = 9.0 / (candidates * (all + 1) * all) as f64;
        network.heartbeats("worker-online");
        network.deliver_all();
        network.settle(3.0);
        assert_one_winner(&network, candidates, seed);
    }
}

#[test]
fn candidates_that_no_roster_has_are_heard_in_time() {
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let (candidates, others, hidden) = (2 + random.below(7), random.below(3), 1 + random.below(3));
        let mut network = network(random, Order::Links, candidates, others);
        network.beating.drain(..hidden.min(candidates));
        let all = candidates + others;
        network.pace = 0.4 / (candidates * (all + 1) * all + candidates) as f64;
        network.heartbeats("worker-online");
        network.deliver_all();
        network.settle(12.0);
        assert_one_winner(&network, candidates, seed);
    }
}

#[test]
fn candidates_that_die_and_members_that_never_answer_block_nobody() {
    let mut of_the_dead = 0;
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let (candidates, others) = (2 + random.below(7), random.below(3));
        let (victim, lives, ghost) =
            (random.below(candidates + others), 1 + random.below(candidates), random.chance(30));
        let mut network = network(random, Order::Links, candidates, others);
        network.beating.push(("ghost".to_owned(), if ghost { "celeriac" } else { "py-celery" }));
        let all = candidates + others;
        network.pace = 2.0 / (candidates * (all + 1) * all) as f64;
        network.heartbeats("worker-online");
        network.beating.retain(|(name, _)| name != "ghost" && *name != format!("w{victim}"));
        network.lives[victim] = Some(lives);
        network.deliver_all();
        network.settle(30.0);
        let survivors = (0..candidates).filter(|peer| !network.is_dead(*peer)).count();
        if survivors > 0 {
            let leader = assert_one_winner(&network, candidates, seed);
            of_the_dead += usize::from(leader == format!("w{victim}.1") && network.is_dead(victim));
        }
    }
    assert!((1..500).contains(&of_the_dead), "{of_the_dead} elections were won by the dead");
}

/// What came of many elections of four candidates, of which the last ones are Python's.
#[derive(Debug, Default)]
struct Tally {
    /// How many Python workers raised.
    raised: usize,
    /// In how many elections nobody or several ran the action.
    not_once: usize,
    /// In how many celeriac's workers did not agree, or several of them ran it.
    split: usize,
}

fn with_python(order: Order, ours: usize) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let peers = (0..4).map(|peer| match random.below(4) as u64 {
            clock if peer < ours => Peer::celeriac(&name(peer), clock, NOW),
            clock => Peer::python(&name(peer), clock, 3),
        });
        let peers = peers.collect();
        let mut network = Network::new(random, order, peers, &[0, 1, 2, 3]);
        let software = |peer| if peer < ours { "celeriac" } else { "py-celery" };
        network.beating = (0..4).map(|peer| (name(peer), software(peer))).collect();
        network.pace = 0.004;
        network.heartbeats("worker-online");
        network.deliver_all();
        network.settle(3.0);
        let done = network.done();
        let runs = |done: &[Done]| done.iter().map(|done| done.runs).sum::<usize>();
        let agreed = done[..ours].iter().all(|one| one.leaders.len() == 1 && one.leaders == done[0].leaders);
        tally.split += usize::from(!agreed || runs(&done[..ours]) > 1);
        tally.raised += done.iter().filter(|done| done.raised).count();
        tally.not_once += usize::from(runs(&done) != 1);
    }
    tally
}

#[test]
fn with_python_candidates_nobody_raises_and_it_is_no_worse_than_among_themselves() {
    let (mixed, python) = (with_python(Order::Broker, 2), with_python(Order::Broker, 0));
    assert_eq!((mixed.raised, mixed.split), (0, 0), "{mixed:?}");
    assert!(mixed.not_once <= python.not_once, "{mixed:?}, of Python alone {python:?}");
}

#[test]
fn celeriac_candidates_agree_even_when_python_raises() {
    let mixed = with_python(Order::Links, 2);
    assert_eq!(mixed.split, 0, "{mixed:?}");
    assert!(mixed.raised > 0, "{mixed:?}: this order was to be out of any broker's");
}
