use celeriac_protocol::codec::{self, Accept, Serializer};

use super::*;

const LEAD: NodeId = NodeId(0x00ab_cdef_0123_4567);

fn member(number: u64) -> Arc<Member> {
    Arc::new(Member {
        number,
        hostname: format!("w{number}@host").into(),
        incarnation: 1_800_000_000_000 + number,
        node: Some(NodeId(number)),
        pid: Some(4242),
        freq: 2.0,
        sw_ident: Some("celeriac".into()),
        sw_ver: Some("0.1.0".into()),
        sw_sys: Some("Linux".into()),
    })
}

fn python(number: u64) -> Arc<Member> {
    let incarnation = i64::MAX.unsigned_abs();
    let (node, pid, text) = (None, None, None);
    let (sw_ident, sw_ver, sw_sys) = (text.clone(), text.clone(), text);
    Arc::new(Member {
        incarnation,
        node,
        pid,
        freq: 0.5,
        sw_ident,
        sw_ver,
        sw_sys,
        ..(*member(number)).clone()
    })
}

fn gone(reason: Reason) -> Departure {
    Departure { hostname: "w9@höst".into(), incarnation: 99, reason }
}

/// One of each, and each variant within.
fn messages() -> Vec<Message> {
    vec![
        Message::Beat(Beat {
            node: LEAD,
            hostname: "lead@host".into(),
            term: 7,
            seq: MAX_COUNT,
            interval: 5.0,
            version: 12,
            size: MAX_MEMBERS,
            digest: u64::MAX,
            watchers: vec![LEAD, NodeId(2)],
            sure: true,
            revoked: 1,
            clock: MAX_CLOCK,
        }),
        Message::Change(Change {
            node: LEAD,
            term: 7,
            version: 4,
            steps: vec![
                Happening::Joined(member(3)),
                Happening::Gone(gone(Reason::Left)),
                Happening::Joined(python(4)),
                Happening::Gone(gone(Reason::Lost)),
            ],
        }),
        Message::Snapshot(Snapshot {
            node: LEAD,
            term: 7,
            version: 12,
            members: vec![member(1), python(3)],
            departures: vec![(11, gone(Reason::Lost)), (12, gone(Reason::Left))],
        }),
        Message::Ask { node: LEAD },
        Message::Probe { node: LEAD },
        Message::Compare(Compare {
            node: LEAD,
            starts: true,
            buckets: (0..BUCKETS as u64).map(|bucket| bucket << 58).collect(),
            clock: 0,
        }),
        Message::Revokes(Revokes {
            buckets: vec![63, 0],
            ids: vec![("a".into(), 0.0), ("b".into(), 10.25)],
            last: true,
            strangers: false,
            clock: 5,
        }),
        Message::Delta { ids: vec![("c".into(), 7.0)] },
        Message::Stand(Stand {
            node: LEAD,
            id: "e1".into(),
            topic: "task".into(),
            clock: 5,
            name: "w1@host.4242".into(),
            again: true,
        }),
        Message::Elected(Elected { node: LEAD, id: "e1".into(), leader: "w1@host.4242".into(), clock: 6 }),
    ]
}

fn through_json(value: &Value) -> Value {
    let body = codec::encode(value, Serializer::Json, None).unwrap();
    codec::decode(&body, &Accept::default()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    for message in messages() {
        let value = message.to_value();
        assert_eq!(Message::read(&value).as_ref(), Ok(&message));
        assert_eq!(Message::read(&through_json(&value)).as_ref(), Ok(&message));
    }
}

#[test]
fn members_travel_as_lists() {
    let message = Message::Change(Change {
        node: LEAD,
        term: 1,
        version: 3,
        steps: vec![
            Happening::Joined(member(3)),
            Happening::Joined(Arc::new(Member { incarnation: 77, ..(*python(4)).clone() })),
            Happening::Gone(gone(Reason::Lost)),
        ],
    });
    let body = codec::encode(&message.to_value(), Serializer::Json, None).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&body.data),
        concat!(
            r#"{"type":"change","node":"00abcdef01234567","term":1,"version":3,"steps":["#,
            r#"["joined",[3,"w3@host",1800000000003,"0000000000000003",4242,2.0,"celeriac","0.1.0","Linux"]],"#,
            r#"["joined",[4,"w4@host",77,null,null,0.5,null,null,null]],["lost","w9@höst",99]]}"#,
        )
    );
}

#[test]
fn a_roster_of_20_000_travels() {
    let members = |count: usize| (1..=count as u64).map(member).collect();
    let snapshot =
        |count| Snapshot { node: LEAD, term: 1, version: 1, members: members(count), departures: vec![] };
    let full = Message::Snapshot(snapshot(MAX_MEMBERS));
    assert_eq!(Message::read(&through_json(&full.to_value())), Ok(full));
    let more = Message::Snapshot(snapshot(MAX_MEMBERS + 1)).to_value();
    assert_eq!(Message::read(&more), Err(MessageError::Field { kind: "snapshot", field: "members" }));
}

#[test]
fn what_is_no_message_is_told() {
    assert_eq!(Message::read(&Value::List(vec![])), Err(MessageError::NoDict("list")));
    for kind in [Value::Null, 1.into(), "BEAT".into(), "".into()] {
        let value = Value::Map(Map::from_iter([("type", kind)]));
        assert_eq!(Message::read(&value), Err(MessageError::Unknown));
    }
    assert_eq!(Message::read(&Value::Map(Map::new())), Err(MessageError::Unknown));
}

#[test]
fn a_later_version_may_say_more() {
    for message in messages() {
        let Value::Map(mut map) = message.to_value() else { unreachable!() };
        map.insert("more", vec![Value::Null]);
        for (list, is_deep) in [("members", false), ("departures", false), ("steps", true), ("ids", false)] {
            let Some(Value::List(mut items)) = map.remove(list) else { continue };
            for item in &mut items {
                let Value::List(parts) = item else { unreachable!() };
                if let (true, Some(Value::List(member))) = (is_deep, parts.last_mut()) {
                    member.push("more".into());
                }
                parts.push("more".into());
            }
            map.insert(list, items);
        }
        assert_eq!(Message::read(&map.into()), Ok(message));
    }
}

#[test]
fn no_field_may_be_absent_or_of_another_type() {
    for message in messages() {
        let Value::Map(map) = message.to_value() else { unreachable!() };
        for (field, _) in map.iter().filter(|(field, _)| *field != "type") {
            let mut without = map.clone();
            without.remove(field);
            assert_field(&without, field);
            for other in [Value::Null, Value::Map(Map::new()), Value::BigInt("9".repeat(40)), f64::NAN.into()]
            {
                let mut wrong = map.clone();
                wrong.insert(field.to_owned(), other);
                assert_field(&wrong, field);
            }
        }
    }
}

fn assert_field(map: &Map, wanted: &str) {
    match Message::read(&Value::Map(map.clone())) {
        Err(MessageError::Field { kind, field }) => {
            assert_eq!((Some(kind), field), (map.get("type").and_then(Value::as_str), wanted));
        }
        other => panic!("{wanted}: {other:?}"),
    }
}

/// The messages that have a field, with another value in it.
fn with(field: &'static str, value: impl Into<Value>) -> Vec<Map> {
    let value = value.into();
    let maps = messages().into_iter().filter_map(|message| match message.to_value() {
        Value::Map(map) if map.get(field).is_some() => Some(map),
        _ => None,
    });
    let maps = maps.map(|mut map| {
        map.insert(field, value.clone());
        map
    });
    maps.collect()
}

fn assert_good(field: &'static str, value: impl Into<Value>) {
    let maps = with(field, value);
    assert!(!maps.is_empty(), "{field}");
    for map in maps {
        let read = Message::read(&map.clone().into());
        assert!(read.is_ok(), "{field}: {read:?}");
    }
}

fn assert_bad(field: &'static str, value: impl Into<Value>) {
    let maps = with(field, value);
    assert!(!maps.is_empty(), "{field}");
    maps.iter().for_each(|map| assert_field(map, field));
}

fn list(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect::<Vec<_>>().into()
}

#[test]
fn counts_are_bounded() {
    for field in ["term", "seq", "version"] {
        assert_good(field, MAX_COUNT);
        for value in [Value::from(MAX_COUNT + 1), Value::from(-1_i64), true.into(), 5.0.into(), "5".into()] {
            assert_bad(field, value);
        }
    }
    assert_good("size", 0_u64);
    for size in [MAX_MEMBERS as i64 + 1, -1, i64::MAX, i64::MIN] {
        assert_bad("size", size);
    }
    assert_bad("clock", -1_i64);
    assert_bad("version", Value::Null);
    let Value::Map(change) = messages()[1].to_value() else { unreachable!() };
    let mut change = change;
    change.insert("version", 3_u64);
    assert_field(&change, "version");
}

#[test]
fn what_no_clock_and_no_pause_can_be_is_taken_as_the_next_that_can() {
    for (clock, taken) in [(MAX_CLOCK + 1, MAX_CLOCK), (i64::MAX.unsigned_abs(), MAX_CLOCK), (3, 3)] {
        for map in with("clock", clock) {
            let again = Message::read(&map.into()).unwrap().to_value();
            assert_eq!(again.as_map().unwrap().get("clock"), Some(&taken.into()));
        }
    }
    for (interval, taken) in [(0.1, 0.5), (-3.0, 0.5), (1e300, 60.0), (7.5, 7.5)] {
        let [map] = &with("interval", interval)[..] else { unreachable!() };
        let Ok(Message::Beat(beat)) = Message::read(&map.clone().into()) else { panic!("{interval}") };
        assert_eq!(beat.interval, taken);
        assert_eq!(read_member(5, interval.into()).map(|member| member.freq), Some(taken));
    }
    assert_bad("interval", f64::INFINITY);
    assert_bad("interval", "5");
}

#[test]
fn hexadecimal_digits_are_as_we_write_them() {
    for field in ["node", "digest", "revoked"] {
        for text in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
            "+123456789abcdef",
            "012345678 abcdef",
        ] {
            assert_bad(field, text);
        }
        assert_bad(field, 5_u64);
    }
    assert_bad("digest", "ééééé\u{800}00");
}

#[test]
fn watchers_are_few_and_the_lead_is_their_first() {
    let watchers = |count| list(count, |index| node_value(NodeId(LEAD.0 + index as u64)));
    assert_good("watchers", watchers(1));
    assert_good("watchers", watchers(MAX_WATCHERS));
    assert_bad("watchers", watchers(MAX_WATCHERS + 1));
    assert_bad("watchers", watchers(0));
    assert_bad("watchers", vec![node_value(NodeId(2)), node_value(LEAD)]);
    assert_bad("watchers", vec![node_value(LEAD), Value::Null]);
}

#[test]
fn texts_are_bounded() {
    let lengths =
        [("hostname", 1, 255), ("id", 1, 1024), ("topic", 0, 1024), ("name", 0, 600), ("leader", 0, 600)];
    for (field, least, most) in lengths {
        assert_good(field, "x".repeat(least));
        assert_good(field, "x".repeat(most));
        assert_bad(field, "x".repeat(most + 1));
        if least > 0 {
            assert_bad(field, "");
        }
    }
}

/// A member of which one part is another.
fn read_member(part: usize, value: Value) -> Option<Arc<Member>> {
    let Value::List(mut parts) = member_value(&member(3)) else { unreachable!() };
    parts[part] = value;
    super::member(&parts.into())
}

#[test]
fn members_are_bounded() {
    let bad: [(usize, &[Value]); 9] = [
        (0, &[Value::Null, (MAX_COUNT + 1).into(), (-1_i64).into(), 1.0.into()]),
        (1, &[Value::Null, "".into(), "x".repeat(256).into()]),
        (2, &[Value::Null, (-1_i64).into(), u64::MAX.into()]),
        (3, &["3".into(), 3_i64.into()]),
        (4, &["4242".into(), u64::MAX.into()]),
        (5, &[Value::Null, f64::NAN.into(), f64::INFINITY.into(), "2".into()]),
        (6, &[5_i64.into()]),
        (7, &[true.into()]),
        (8, &[Value::List(vec![])]),
    ];
    for (part, values) in bad {
        for value in values {
            assert_eq!(read_member(part, value.clone()), None, "{part}: {value:?}");
        }
    }
    assert_eq!(read_member(5, 0_i64.into()).map(|member| member.freq), Some(0.5));
    assert_eq!(read_member(6, "x".repeat(64).into()).unwrap().sw_ident.as_deref(), Some(&*"x".repeat(64)));
    assert_eq!(read_member(6, "x".repeat(65).into()).unwrap().sw_ident, None, "too long to be told");
    let Value::List(parts) = member_value(&member(3)) else { unreachable!() };
    assert_eq!(super::member(&parts[..8].to_vec().into()), None);
}

#[test]
fn a_snapshot_has_each_name_and_number_once() {
    let members =
        |numbers: &[u64]| numbers.iter().map(|number| member_value(&member(*number))).collect::<Vec<_>>();
    assert_good("members", members(&[]));
    assert_good("members", members(&[1, 5, 6]));
    assert_bad("members", members(&[1, 6, 5]));
    assert_bad("members", members(&[1, 1]));
    let double = Member { number: 9, ..(*member(1)).clone() };
    assert_bad("members", vec![member_value(&member(1)), member_value(&double)]);
    let beside = Member { number: 1, ..(*member(2)).clone() };
    assert_bad("members", vec![member_value(&member(1)), member_value(&beside)]);
    let departures = |count| list(count, |index| departure_value(&(index as u64, gone(Reason::Left))));
    assert_good("departures", departures(MAX_DEPARTURES));
    assert_bad("departures", departures(MAX_DEPARTURES + 1));
    let mut forged = gone_values(&gone(Reason::Left)).to_vec();
    forged.insert(0, (MAX_COUNT + 1).into());
    assert_bad("departures", vec![forged.into()]);
}

#[test]
fn a_change_has_steps() {
    let step = |parts: &[Value]| vec![Value::List(parts.to_vec())];
    assert_good("steps", step(&["left".into(), "w@h".into(), 0_i64.into()]));
    for parts in [
        &["gone".into(), "w@h".into(), 0_i64.into()][..],
        &["left".into(), "".into(), 0_i64.into()],
        &["left".into(), "w@h".into(), Value::Null],
        &["left".into(), "w@h".into()],
        &["joined".into(), Value::Null],
        &["joined".into()],
        &[],
    ] {
        assert_bad("steps", step(parts));
    }
    assert_bad("steps", Value::List(vec![]));
    let steps = |count| list(count, |_| step_value(&Happening::Gone(gone(Reason::Lost))));
    let mut change = with("steps", steps(MAX_MEMBERS)).remove(0);
    change.insert("version", MAX_COUNT);
    assert!(Message::read(&change.clone().into()).is_ok());
    change.insert("steps", steps(MAX_MEMBERS + 1));
    assert_field(&change, "steps");
}

#[test]
fn revokes_are_bounded() {
    let ids = |count| list(count, |index| id_value(&(index.to_string(), 1.0)));
    let id = |id: &str, age: f64| vec![id_value(&(id.to_owned(), age))];
    assert_good("ids", ids(0));
    assert_good("ids", ids(PAGE));
    assert_bad("ids", ids(PAGE + 1));
    assert_good("ids", id(&"x".repeat(1024), 0.0));
    assert_bad("ids", id(&"x".repeat(1025), 0.0));
    assert_bad("ids", id("", 0.0));
    for age in [-0.1, f64::NAN, f64::INFINITY] {
        assert_bad("ids", id("a", age));
    }
    assert_bad("ids", vec![Value::List(vec!["a".into()])]);
    assert_bad("ids", vec!["a".into()]);
}

#[test]
fn buckets_are_bounded() {
    let [compare, page] = &with("buckets", Value::Null)[..] else { unreachable!() };
    let assert = |map: &Map, buckets: Value, is_good: bool| {
        let mut map = map.clone();
        map.insert("buckets", buckets.clone());
        assert_eq!(Message::read(&map.into()).is_ok(), is_good, "{buckets:?}");
    };
    for (count, is_good) in [(BUCKETS, true), (BUCKETS - 1, false), (BUCKETS + 1, false), (0, false)] {
        assert(compare, list(count, |_| hex_value(0)), is_good);
    }
    for (count, is_good) in [(BUCKETS, true), (0, true), (BUCKETS + 1, false)] {
        assert(page, list(count, size_value), is_good);
    }
    assert(page, vec![size_value(BUCKETS)].into(), false);
    assert(page, vec![size_value(5), size_value(5)].into(), false);
    assert(page, vec![Value::Int(-1)].into(), false);
}

/// xorshift64: the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// Changes something somewhere in a value.
    fn mutate(&mut self, value: &mut Value, others: &[Value]) {
        let is_deep = self.below(8) > 0;
        match value {
            Value::List(items) if is_deep && !items.is_empty() => {
                let at = self.below(items.len());
                match self.below(6) {
                    0 => drop(items.remove(at)),
                    1 => items.insert(at, others[self.below(others.len())].clone()),
                    2 => items.push(items[at].clone()),
                    _ => self.mutate(&mut items[at], others),
                }
            }
            Value::Map(map) if is_deep && !map.is_empty() => {
                let at = self.below(map.len());
                let key = map.iter().nth(at).unwrap().0.to_owned();
                let mut inner = map.remove(&key).unwrap();
                if self.below(12) > 0 {
                    self.mutate(&mut inner, others);
                    map.insert(key, inner);
                }
            }
            other => *other = others[self.below(others.len())].clone(),
        }
    }
}

#[test]
fn mutants_are_refused_or_mean_what_they_say() {
    let mut others = vec![Value::Null, true.into(), Value::List(vec![]), Value::Bytes(vec![0xff]), "".into()];
    others.extend([-1, 0, 1, i64::MAX, i64::MIN].map(Value::Int));
    others.extend([-0.0, 1e308, f64::NAN, f64::NEG_INFINITY].map(Value::Float));
    others.extend(messages().iter().map(Message::to_value));
    let (mut random, mut read) = (Random(0x9E37_79B9_7F4A_7C15), 0);
    let messages = messages();
    for round in 0..20_000 {
        let mut value = messages[round % messages.len()].to_value();
        for _ in 0..=random.below(3) {
            random.mutate(&mut value, &others);
        }
        if let Ok(message) = Message::read(&value) {
            read += 1;
            assert_eq!(Message::read(&message.to_value()), Ok(message));
        }
    }
    assert!((500..15_000).contains(&read), "{read} mutants were read");
}
