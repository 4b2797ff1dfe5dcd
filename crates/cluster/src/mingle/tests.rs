use celeriac_protocol::codec::{self, Serializer};

use super::*;

const NOW: f64 = 1_800_000_000.0;

fn map(entries: &[(&'static str, Value)]) -> Map {
    entries.iter().cloned().collect()
}

fn reply(clock: Value, revoked: Value) -> Value {
    map(&[("revoked", revoked), ("clock", clock)]).into()
}

fn ids(revoked: &Revoked) -> Vec<(&str, f64)> {
    revoked.iter().collect()
}

#[test]
fn clocks_and_revokes_of_all_neighbours_are_merged() {
    let (clock, mut revoked) = (LamportClock::new(5), Revoked::default());
    let pair = Value::List(vec![2253.9.into(), "a".into()]);
    let replies = [
        ("w1".to_owned(), reply(315.into(), map(&[("a", pair)]).into())),
        ("w2".to_owned(), reply(0.into(), map(&[("b", 7.5.into())]).into())),
        ("me".to_owned(), reply(9_000.into(), map(&[("own", 1.0.into())]).into())),
        ("w3".to_owned(), Value::Null),
        ("w4".to_owned(), Map::new().into()),
    ];
    let mut synced = Synced::default();
    sync(&mut synced, "me", replies, &clock, &mut revoked, NOW);
    assert_eq!(synced, Synced { replied: 4, nodes: 2, errors: vec![] });
    assert_eq!(clock.value(), 317, "adjusted past 315, then forward");
    assert_eq!(ids(&revoked), [("a", NOW), ("b", NOW)]);
}

#[test]
fn a_known_revoke_is_never_stamped_again() {
    let (clock, mut revoked) = (LamportClock::new(0), Revoked::default());
    revoked.add("a", NOW - 100.0);
    let again = || [("w1".to_owned(), reply(1.into(), map(&[("a", 9e9.into())]).into()))];
    sync(&mut Synced::default(), "me", again(), &clock, &mut revoked, NOW);
    assert_eq!(ids(&revoked), [("a", NOW - 100.0)]);
}

#[test]
fn rubbish_is_told_and_stops_nobody() {
    let (clock, mut revoked) = (LamportClock::new(0), Revoked::default());
    let long = "x".repeat(1 << 20);
    let replies = [
        ("w1".to_owned(), Value::Int(3)),
        ("w2".to_owned(), reply("12".into(), map(&[("a", Value::Null)]).into())),
        ("w3".to_owned(), reply(Value::Int(-4), "ids".into())),
        ("w4".to_owned(), reply(Value::BigInt("9".repeat(99)), Value::List(vec![Value::Null, "b".into()]))),
        ("w5".to_owned(), reply(i64::MAX.into(), Map::from_iter([(long, Value::Float(1.0))]).into())),
        ("w6".to_owned(), reply(50.into(), map(&[("c", f64::NAN.into())]).into())),
    ];
    let mut synced = Synced::default();
    sync(&mut synced, "me", replies, &clock, &mut revoked, NOW);
    assert_eq!((synced.replied, synced.nodes), (6, 5));
    let told: Vec<&str> = synced.errors.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(told, ["w1", "w2", "w3", "w4"]);
    assert_eq!(synced.errors[1].1.to_string(), "clock must be int, not str");
    assert_eq!(clock.value(), 51, "a clock beyond belief is not taken");
    assert_eq!(ids(&revoked), [("a", NOW), ("b", NOW), ("c", NOW)]);
}

#[test]
fn one_peer_gives_no_more_than_a_set_holds_and_the_newest_first() {
    let (clock, mut revoked) = (LamportClock::new(0), Revoked::new(REVOKES_MAX * 2, 10.0));
    let many: Map = (0..REVOKES_MAX + 10).map(|n| (n.to_string(), Value::Float(n as f64))).collect();
    sync(
        &mut Synced::default(),
        "me",
        [("w1".to_owned(), reply(1.into(), many.into()))],
        &clock,
        &mut revoked,
        NOW,
    );
    assert_eq!(revoked.len(), REVOKES_MAX);
    assert!(revoked.contains("10") && !revoked.contains("9"));
}

#[test]
fn our_hello_has_the_recorded_arguments() {
    let mut revoked = Revoked::default();
    revoked.add("a", NOW);
    let arguments = hello("me@example", &revoked, 77.0);
    let json = codec::encode(&arguments.into(), Serializer::Json, None).unwrap();
    assert_eq!(&json.data[..], br#"{"from_node":"me@example","revoked":{"a":77.0}}"#);
}

#[test]
fn a_hello_is_answered_with_stamps_that_its_sender_keeps() {
    let (clock, mut revoked) = (LamportClock::new(9), Revoked::new(10, 10_800.0));
    revoked.add("expired", NOW - 20_000.0);
    revoked.add("ours", NOW - 5.0);
    let theirs = map(&[
        ("p", Value::List(vec![5000.5.into(), "p".into()])),
        ("q", 4000.0.into()),
        ("bad", f64::INFINITY.into()),
        ("worse", "x".into()),
    ]);
    let arguments = map(&[("from_node", "w1".into()), ("revoked", theirs.into())]);
    assert_eq!(hear("me", &arguments, &mut revoked, NOW), Ok(None));
    let value = answer("me", &arguments, &clock, &mut revoked, NOW, 100.0).unwrap().unwrap();
    let value = value.as_map().unwrap();
    assert_eq!(value.get("clock"), Some(&Value::Int(10)));
    let sent: Vec<(&str, &Value)> = value.get("revoked").and_then(Value::as_map).unwrap().iter().collect();
    assert_eq!(sent.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["ours", "bad", "p", "q", "worse"]);
    assert!(sent.iter().all(|(_, stamp)| **stamp == Value::Float(5000.5)), "{sent:?}");
    assert!(!revoked.contains("expired"));

    let arguments = map(&[("from_node", "w2".into()), ("revoked", "rubbish".into())]);
    let error = hear("me", &arguments, &mut revoked, NOW).unwrap();
    let value = answer("me", &arguments, &clock, &mut revoked, NOW, 100.0).unwrap().unwrap();
    assert_eq!(error.unwrap().to_string(), "revoked must be dict, not str");
    let sent = value.as_map().and_then(|value| value.get("revoked")).and_then(Value::as_map).unwrap();
    assert_eq!(sent.get("ours"), Some(&Value::Float(100.0)), "our own clock when the peer shows none");
}

#[test]
fn our_own_hello_is_not_answered_and_a_nameless_one_is_refused() {
    let (clock, mut revoked) = (LamportClock::new(9), Revoked::default());
    let own = map(&[("from_node", "me".into()), ("revoked", map(&[("a", 1.0.into())]).into())]);
    assert_eq!(hear("me", &own, &mut revoked, NOW), Ok(None));
    assert_eq!(answer("me", &own, &clock, &mut revoked, NOW, 1.0), Ok(None));
    assert!(revoked.is_empty() && clock.value() == 9);
    for from in [Value::Null, Value::Int(1)] {
        assert!(hear("me", &map(&[("from_node", from.clone())]), &mut revoked, NOW).is_err());
        assert!(answer("me", &map(&[("from_node", from)]), &clock, &mut revoked, NOW, 1.0).is_err());
    }
}
