use super::*;
use crate::gossip::round::Round;

/// A worker `me.1` that knows `a` and `b`.
fn among(software: &'static str) -> Gossip {
    let mut gossip = Gossip::new(Config::new("me", 1), Arc::new(LamportClock::new(0)), NOW);
    hear(&mut gossip, &beat("worker-online", "a", 1, "celeriac"), NOW);
    hear(&mut gossip, &beat("worker-online", "b", 1, software), NOW);
    gossip
}

fn elect(hostname: &str, clock: u64) -> Event {
    let fields = [("id", "x".into()), ("topic", "task".into()), ("action", Value::Null), ("cver", 1.into())];
    event("worker-elect", hostname, clock, &fields)
}

fn ack(hostname: &str) -> Event {
    event("worker-elect-ack", hostname, 1, &[("id", "x".into())])
}

fn stand(gossip: &mut Gossip, now: f64) -> Vec<Action> {
    let action = Value::from("act");
    gossip.handle(Input::Election { id: "x".to_owned(), topic: "task".to_owned(), action }, now)
}

fn hear_all(gossip: &mut Gossip, events: &[Event], now: f64) -> Vec<String> {
    events.iter().flat_map(|event| told(&hear(gossip, event, now))).collect()
}

#[test]
fn what_is_published_is_celerys() {
    let mut gossip = among("celeriac");
    let actions = stand(&mut gossip, NOW);
    let [Action::Publish { kind: "worker-elect", fields }] = &actions[..] else { panic!("{actions:?}") };
    let fields: Vec<_> = fields.iter().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(
        fields,
        [("id", "x".into()), ("topic", "task".into()), ("action", "act".into()), ("cver", 1.into())]
    );
    assert_eq!(told(&stand(&mut gossip, NOW)), [""; 0], "we stand already");
    let actions = hear(&mut gossip, &elect("me", 4), NOW);
    let [Action::Publish { kind: "worker-elect-ack", fields }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(fields.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["id"]);
}

#[test]
fn alone_with_a_python_worker_we_stand_at_once_since_it_decides_by_its_own_ack() {
    let mut gossip = Gossip::new(Config::new("me", 1), Arc::new(LamportClock::new(0)), NOW);
    hear(&mut gossip, &beat("worker-online", "p", 1, "py-celery"), NOW);
    assert_eq!(told(&stand(&mut gossip, NOW)), ["worker-elect x"]);
    let mut gossip = among("py-celery");
    assert_eq!(told(&stand(&mut gossip, NOW)), [""; 0], "among several we let Python's go first");
}

#[test]
fn the_first_by_clock_then_by_name_wins_when_each_has_acked() {
    for (ours, leader) in [(4, "x: me.1 runs"), (5, "x: a.1"), (6, "x: a.1")] {
        let mut gossip = among("celeriac");
        stand(&mut gossip, NOW);
        hear_all(
            &mut gossip,
            &[elect("me", ours), elect("a", 5), ack("me"), ack("a"), ack("a"), ack("a")],
            NOW,
        );
        assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1.0)), [""; 0], "b has not acked");
        assert_eq!(hear_all(&mut gossip, &[ack("b")], NOW + 1.0), [leader]);
        assert_eq!(hear_all(&mut gossip, &[ack("b"), ack("a")], NOW + 1.0), [""; 0], "once");
    }
}

#[test]
fn a_decision_waits_half_a_second_for_who_sends_no_heartbeats() {
    let mut gossip = among("celeriac");
    stand(&mut gossip, NOW);
    assert_eq!(hear_all(&mut gossip, &[elect("me", 9), ack("me"), ack("a"), ack("b")], NOW).len(), 1);
    assert_eq!(gossip.next_timeout(), Some(NOW + 0.5));
    assert_eq!(hear_all(&mut gossip, &[elect("stranger", 8)], NOW + 0.4), ["worker-elect-ack x"]);
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1.0)), [""; 0], "its ack is waited for");
    assert_eq!(hear_all(&mut gossip, &[ack("stranger")], NOW + 1.0), ["x: stranger.1"]);
}

#[test]
fn a_silent_candidate_that_is_gone_is_out_and_one_that_acked_is_not() {
    for (acked, leader) in [(false, "x: me.1 runs"), (true, "x: a.1")] {
        let mut gossip = among("celeriac");
        stand(&mut gossip, NOW);
        hear_all(&mut gossip, &[elect("a", 1), elect("me", 2), ack("b")], NOW);
        if acked {
            hear_all(&mut gossip, &[ack("a")], NOW);
        }
        hear_all(&mut gossip, &[ack("me")], NOW);
        let mut said = hear_all(&mut gossip, &[beat("worker-offline", "a", 3, "celeriac")], NOW + 0.1);
        said.extend(told(&gossip.handle(Input::Tick, NOW + 0.5)));
        assert_eq!(said, ["left a", leader]);
    }
}

#[test]
fn a_member_that_is_lost_or_comes_anew_blocks_nobody() {
    let mut gossip = among("celeriac");
    hear(&mut gossip, &beat("worker-heartbeat", "a", 1, "celeriac"), NOW + 3.0);
    stand(&mut gossip, NOW);
    hear_all(&mut gossip, &[elect("me", 2), ack("me"), ack("a")], NOW + 3.0);
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 5.0)), ["lost b", "x: me.1 runs"]);

    let mut gossip = among("celeriac");
    stand(&mut gossip, NOW);
    hear_all(&mut gossip, &[elect("me", 2), ack("me"), ack("a")], NOW);
    gossip.handle(Input::Tick, NOW + 1.0);
    let online = beat("worker-online", "b", 5, "celeriac");
    assert_eq!(hear_all(&mut gossip, &[online], NOW + 1.0), ["joined b", "x: me.1 runs"]);
}

#[test]
fn who_lives_without_gossip_is_not_waited_for_for_ever() {
    let mut gossip = among("celeriac");
    stand(&mut gossip, NOW);
    hear_all(&mut gossip, &[elect("me", 2), ack("me"), ack("a")], NOW);
    gossip.handle(Input::Tick, NOW + 1.0);
    for now in [NOW + 4.0, NOW + 7.0, NOW + 9.9] {
        for name in ["a", "b"] {
            hear(&mut gossip, &beat("worker-heartbeat", name, 1, "celeriac"), now);
        }
        assert_eq!(told(&gossip.handle(Input::Tick, now)), [""; 0]);
    }
    assert_eq!(gossip.next_timeout(), Some(NOW + 10.0));
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 10.0)), ["x: me.1 runs"]);
}

#[test]
fn what_is_not_decided_expires_and_is_told_to_candidates_only() {
    for stands in [true, false] {
        let mut gossip = among("celeriac");
        if stands {
            stand(&mut gossip, NOW);
        }
        hear_all(&mut gossip, &[elect("mute", 1)], NOW);
        let mut said = Vec::new();
        while let Some(now) = gossip.next_timeout().filter(|now| *now <= NOW + 60.0) {
            said.extend(
                told(&gossip.handle(Input::Tick, now)).into_iter().filter(|told| !told.starts_with("lost")),
            );
        }
        let expected: &[&str] = if stands { &["expired x"] } else { &[] };
        assert_eq!(said, expected);
        assert!(gossip.elections.rounds.is_empty());
    }
}

#[test]
fn who_stands_after_the_decision_only_hears_of_it() {
    let mut gossip = among("celeriac");
    let election = [elect("a", 1), ack("a"), ack("b"), ack("me")];
    hear_all(&mut gossip, &election, NOW);
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1.0)), [""; 0], "we were no candidate");
    hear_all(&mut gossip, &[beat("worker-online", "a", 8, "celeriac")], NOW + 1.0);
    assert_eq!(told(&stand(&mut gossip, NOW + 1.0)), ["x: a.1"]);
    assert_eq!(hear_all(&mut gossip, &[elect("a", 9)], NOW + 2.0), ["worker-elect-ack x"]);
    assert_eq!(told(&stand(&mut gossip, NOW + 2.0)), ["worker-elect x"], "the id is used again");
}

#[test]
fn a_candidate_that_comes_late_does_not_change_a_decision() {
    for decided_again in [false, true] {
        let mut gossip = among("celeriac");
        hear_all(&mut gossip, &[elect("a", 1), ack("a"), ack("b"), ack("me")], NOW);
        gossip.handle(Input::Tick, NOW + 1.0);
        hear_all(&mut gossip, &[elect("b", 7), ack("a"), ack("b"), ack("me")], NOW + 1.0);
        if decided_again {
            gossip.handle(Input::Tick, NOW + 2.0);
        }
        assert_eq!(told(&stand(&mut gossip, NOW + 2.0)), ["x: a.1"]);
    }
}

#[test]
fn an_id_can_be_used_again_at_once() {
    let mut gossip = among("celeriac");
    for round in 0..3 {
        let now = NOW + f64::from(round);
        assert_eq!(told(&stand(&mut gossip, now)), ["worker-elect x"]);
        hear_all(&mut gossip, &[elect("me", 2), ack("me"), ack("a"), ack("b")], now);
        assert_eq!(told(&gossip.handle(Input::Tick, now + 0.5)), ["x: me.1 runs"]);
    }
}

#[test]
fn our_candidacy_waits_for_one_of_pythons() {
    let mut gossip = among("py-celery");
    assert_eq!(told(&stand(&mut gossip, NOW)), [""; 0]);
    assert_eq!(
        hear_all(&mut gossip, &[elect("b", 2)], NOW + 0.2),
        ["worker-elect x"],
        "the ack waits for it"
    );
    assert_eq!(hear_all(&mut gossip, &[elect("me", 4)], NOW + 0.3), ["worker-elect-ack x"; 2]);

    let mut gossip = among("py-celery");
    stand(&mut gossip, NOW);
    assert_eq!(gossip.next_timeout(), Some(NOW + 1.0));
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1.0)), ["worker-elect x"]);
}

#[test]
fn acks_are_held_back_while_a_python_worker_could_be_alone() {
    let mut gossip = among("py-celery");
    assert_eq!(hear_all(&mut gossip, &[elect("a", 1), elect("a", 1)], NOW), [""; 0]);
    assert_eq!(hear_all(&mut gossip, &[elect("b", 2)], NOW + 0.2), ["worker-elect-ack x"; 3]);

    let mut gossip = among("py-celery");
    assert_eq!(hear_all(&mut gossip, &[elect("b", 2)], NOW), [""; 0]);
    gossip.handle(Input::Tick, NOW + 0.5);
    assert_eq!(gossip.next_timeout(), Some(NOW + 1.0));
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1.0)), ["worker-elect-ack x"]);

    let mut gossip = among("py-celery");
    hear_all(&mut gossip, &[elect("a", 1)], NOW);
    let said = hear_all(&mut gossip, &[beat("worker-offline", "b", 1, "py-celery")], NOW + 0.1);
    assert_eq!(said, ["left b", "worker-elect-ack x"], "no Python worker is left");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut gossip = among("celeriac");
    stand(&mut gossip, NOW);
    let flood = |number: usize, field: &'static str, value: String| {
        let mut event = elect(&format!("w{}", number % 7_000), 1);
        event.fields.insert(field, value);
        event
    };
    let mut said = Vec::new();
    for number in 0..3_000 {
        said.extend(told(&hear(&mut gossip, &flood(number, "id", number.to_string()), NOW)));
    }
    assert_eq!(gossip.elections.rounds.len(), 1_000);
    for number in 0..40_000 {
        let id = (number / 7_000).to_string();
        said.extend(told(&hear(&mut gossip, &flood(number, "id", id), NOW)));
    }
    let names: usize = gossip.elections.rounds.values().map(Round::names).sum();
    assert!(names <= 20_000, "{names}");
    assert!(gossip.elections.rounds.get("x").unwrap().stands, "ours is kept");
    assert!(said.iter().all(|told| told.starts_with("worker-elect-ack ")));

    let long = hear(&mut gossip, &flood(0, "id", "x".repeat(1025)), NOW);
    assert_eq!(told(&long), ["refused: worker-elect of w0 has no good id"]);
    let mut refused = 0;
    for number in 0..200 {
        let input =
            Input::Election { id: format!("own{number}"), topic: "task".to_owned(), action: Value::Null };
        refused +=
            gossip.handle(input, NOW).iter().filter(|action| matches!(action, Action::Refused(_))).count();
    }
    assert_eq!(refused, 101);
}

#[test]
fn an_election_without_what_celery_asks_for_is_refused() {
    let mut gossip = among("celeriac");
    for field in ["id", "topic", "action", "cver"] {
        let mut event = elect("a", 1);
        event.fields.remove(field);
        let said = told(&hear(&mut gossip, &event, NOW));
        assert_eq!(said, [format!("refused: worker-elect of a has no good {field}")]);
    }
    for event in [Event { clock: None, ..elect("a", 1) }, Event { pid: None, ..elect("a", 1) }] {
        assert!(matches!(hear(&mut gossip, &event, NOW)[..], [Action::Refused(_)]));
    }
    let nameless = event("worker-elect-ack", "a", 1, &[("id", 7.into())]);
    assert!(matches!(hear(&mut gossip, &nameless, NOW)[..], [Action::Refused(_)]));
}
