//! Elections while there are workers that elect by Celery's own messages, by hand.

use super::*;

const ACKS: [&str; 3] = ["worker-elect-ack w1", "worker-elect-ack w2", "worker-elect-ack w3"];

fn candidate(hostname: &str, clock: u64) -> Event {
    let fields = [("id", ID.into()), ("topic", "task".into()), ("action", Value::Null), ("cver", 1.into())];
    Event {
        kind: "worker-elect".into(),
        hostname: hostname.to_owned(),
        pid: Some(1),
        clock: Some(clock),
        fields: fields.into_iter().collect(),
        ..Event::default()
    }
}

fn acks(now: f64) -> Vec<String> {
    ACKS.map(|ack| format!("{now} {ack}")).to_vec()
}

#[test]
fn what_is_published_is_celerys() {
    let mut lead = Member { listeners: 1, ..Member::lead(true) };
    let said = lead.hear_candidate(&candidate("p", 4), 0.0);
    let [Action::Publish { hostname, pid: Some(1), clock: Some(CANNOT_WIN), kind: "worker-elect", fields }] =
        &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(&**hostname, "w1");
    let fields: Vec<_> = fields.iter().map(|(key, value)| (key, value.clone())).collect();
    let wanted = [("id", ID.into()), ("topic", "task".into()), ("action", Value::Null), ("cver", 1.into())];
    assert_eq!(fields, wanted);
    let said = lead.run(0.3);
    let [(_, Action::Publish { pid: Some(1), clock: None, kind: "worker-elect-ack", fields, .. })] =
        &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(fields.iter().collect::<Vec<_>>(), [("id", &Value::from(ID))]);
}

#[test]
fn a_decoys_clock_is_believed_by_none_of_us_and_ticks_on_in_monitors() {
    let clock = LamportClock::new(5);
    assert_eq!(clock.adjust(CANNOT_WIN), 6);
    assert!(CANNOT_WIN < i64::MAX as u64 - (1 << 60));
}

#[test]
fn a_lone_stranger_gets_a_decoy_and_acks_and_wins() {
    let mut lead = Member::lead(true);
    assert_eq!(told(&lead.stand(0.0)), NOTHING);
    assert_eq!(told(&lead.hear_candidate(&candidate("p", 1_000), 0.2)), NOTHING);
    assert_eq!(lead.told(0.4), ["0.3 worker-elect w1 decoy"]);
    assert_eq!(lead.told(0.6), acks(0.5));
    assert_eq!(lead.told(50.0), ["0.7 all.change p.1", "0.7 elected p.1"]);
}

#[test]
fn of_several_strangers_the_first_wins_and_no_decoy_is_needed() {
    let mut lead = Member::lead(true);
    lead.hear_candidate(&candidate("q", 7), 0.0);
    lead.hear_candidate(&candidate("p", 7), 0.1);
    lead.hear_candidate(&candidate("o", 8), 0.2);
    lead.hear(&Message::Stand(stand(2, 1)), 0.2);
    assert_eq!(lead.told(0.6), acks(0.5));
    assert_eq!(lead.told(50.0), ["0.7 all.change p.1"]);
}

#[test]
fn strangers_that_keep_coming_do_not_put_off_acks_for_long() {
    let mut lead = Member::lead(true);
    let mut said = Vec::new();
    for number in 0..15 {
        let now = f64::from(number) / 5.0;
        said.extend(lead.told(now));
        lead.hear_candidate(&candidate(&format!("p{number}"), 1), now);
    }
    assert_eq!(said[..3], acks(2.0));
}

#[test]
fn among_strangers_we_decide_alone_after_a_second() {
    let mut lead = Member::lead(true);
    lead.hear(&Message::Stand(stand(2, 7)), 0.0);
    assert_eq!(
        lead.told(0.9),
        ["0.3 worker-elect w1 decoy"],
        "a classic worker stands when it hears another"
    );
    let decided = lead.told(50.0);
    assert_eq!(decided[0], "1 all.change w2.2");
    assert_eq!(decided[1..], acks(1.0), "and knows by these that it is decided");

    let mut lead = Member::lead(true);
    lead.hear(&Message::Stand(stand(2, 7)), 0.0);
    lead.run(0.9);
    lead.hear(&Message::Stand(stand(3, 7)), 0.9);
    assert_eq!(lead.told(50.0)[0], "1.4 all.change w2.2");
}

#[test]
fn a_stranger_that_is_late_decides_by_itself() {
    let mut lead = Member::lead(true);
    lead.hear(&Message::Stand(stand(2, 7)), 0.0);
    lead.run(2.0);
    for (name, now) in [("p", 3.0), ("q", 5.0)] {
        assert_eq!(told(&lead.hear_candidate(&candidate(name, 1), now)), NOTHING);
        let said = lead.told(now + 1.0);
        assert_eq!(said[0], format!("{} worker-elect w1 decoy", now + 0.3));
        assert_eq!(said[1..], acks(now + 0.3));
    }
    assert_eq!(told(&lead.hear_candidate(&candidate("p", 1), 6.0)), NOTHING, "heard twice");
    assert_eq!(lead.told(50.0), NOTHING);
    assert_eq!(told(&lead.hear(&Message::Stand(stand(3, 1)), 50.0)), ["node.0000000000000003 w2.2"]);
}

#[test]
fn a_stranger_that_stands_again_opens_another_election() {
    let mut lead = Member::lead(true);
    lead.hear_candidate(&candidate("p", 1), 0.0);
    assert_eq!(lead.told(5.0).last().map(String::as_str), Some("0.5 all.change p.1"));
    lead.hear_candidate(&candidate("q", 20), 5.0);
    lead.hear_candidate(&candidate("p", 21), 5.1);
    let said = lead.told(50.0);
    assert!(
        said.last().unwrap().ends_with("change q.1"),
        "it was heard before, and is of this one: {said:?}"
    );
}

#[test]
fn our_second_election_takes_over_the_strangers_that_were_heard_since_the_first() {
    let mut lead = Member::lead(true);
    lead.hear(&Message::Stand(stand(2, 1)), 0.0);
    lead.run(2.0);
    lead.hear_candidate(&candidate("p", 20), 5.0);
    lead.hear(&Message::Stand(Stand { again: true, ..stand(2, 99) }), 5.1);
    let said = lead.told(50.0);
    assert!(said.last().unwrap().ends_with("all.change p.1"), "{said:?}");
}

#[test]
fn a_new_lead_acks_for_all_of_us_what_the_last_may_not_have() {
    let mut next = Member { leads: false, ..Member::lead(true) };
    assert_eq!(told(&next.hear_candidate(&candidate("p", 1), 0.0)), NOTHING);
    assert_eq!(next.told(5.0), NOTHING);
    next.leads = true;
    next.on_lead(5.0);
    let said = next.told(50.0);
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said[0].ends_with("worker-elect w1 decoy") && said[4].ends_with("all.change p.1"), "{said:?}");

    let mut next = Member { leads: false, ..Member::lead(true) };
    next.hear_candidate(&candidate("p", 1), 0.0);
    next.hear(&elected(2, 9), 0.5);
    next.leads = true;
    next.on_lead(5.0);
    assert_eq!(next.told(50.0), NOTHING, "the last lead decided, so it had acked");
}

#[test]
fn acks_of_one_election_at_a_time() {
    let mut lead = Member::lead(true);
    for number in 0..50 {
        let mut event = candidate("p", 1);
        event.fields.insert("id", number.to_string());
        lead.hear_candidate(&event, 0.0);
    }
    let acks = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Publish { clock: None, .. })).count()
    };
    let actions = lead.act(0.3, |elections, scene, actions| elections.tick(scene, actions));
    assert_eq!(acks(&actions), 3);
    let rest: Vec<_> = lead.run(0.3).into_iter().map(|(_, action)| action).collect();
    assert_eq!(acks(&rest), 49 * 3);
}

#[test]
fn a_candidacy_without_what_celery_asks_for_is_ignored() {
    let mut lead = Member::lead(true);
    for field in ["id", "topic", "action", "cver"] {
        let mut event = candidate("p", 1);
        event.fields.remove(field);
        let said = told(&lead.hear_candidate(&event, 0.0));
        assert_eq!(said, [format!("ignored: worker-elect of p has no good {field}")]);
    }
    let mut long = candidate("p", 1);
    long.fields.insert("id", "x".repeat(1025));
    let events = [long, Event { clock: None, ..candidate("p", 1) }, Event { pid: None, ..candidate("p", 1) }];
    for event in events {
        assert!(matches!(lead.hear_candidate(&event, 0.0)[..], [Action::Ignored(_)]));
    }
    assert!(lead.elections.rounds.is_empty());
}
