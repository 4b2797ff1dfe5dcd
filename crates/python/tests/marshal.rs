//! Values, read and written beside Python itself.

use celeriac_protocol::{Map, Value};
use celeriac_python::host::marshal::{MarshalError, Writer, dumps, loads};
use celeriac_testkit::{Python, TempDir};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn values() -> impl Strategy<Value = Value> {
    let edges = prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        (0_u32..63, -1_i64..=1).prop_map(|(bits, near)| (1 << bits) + near),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        edges
            .prop_flat_map(|number| prop_oneof![Just(number), Just(number.wrapping_neg())])
            .prop_map(Value::Int),
        any::<f64>().prop_filter("nothing equals NaN", |number| !number.is_nan()).prop_map(Value::Float),
        "-?[1-9][0-9]{19,60}".prop_map(Value::BigInt),
        any::<String>().prop_map(Value::String),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::List),
            vec((any::<String>(), inner), 0..8)
                .prop_map(|entries| Value::Map(entries.into_iter().collect::<Map>())),
        ]
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn python_reads_what_we_write_and_writes_the_same() {
    const SCRIPT: &str = "import marshal, sys
for line in open(sys.argv[1]):
    print(marshal.dumps(marshal.loads(bytes.fromhex(line)), 2).hex())";
    let mut runner = TestRunner::deterministic();
    let values: Vec<Value> = (0..1000).map(|_| values().new_tree(&mut runner).unwrap().current()).collect();
    let written: Vec<String> = values.iter().map(|value| hex(&dumps(value).unwrap())).collect();
    let dir = TempDir::new();
    let file = dir.write("values", written.join("\n"));
    let shown = Python::find().run(SCRIPT, &[file.to_str().unwrap()], &[]);
    assert_eq!(shown.lines().count(), values.len());
    for ((value, ours), theirs) in values.iter().zip(&written).zip(shown.lines()) {
        assert_eq!(ours, theirs, "{value:?}");
        assert_eq!(&loads(&from_hex(theirs)).unwrap(), value);
    }
}

#[test]
fn what_only_python_has_is_read_as_near_as_can_be_or_refused() {
    const SCRIPT: &str = "import marshal, sys
for value in eval(sys.argv[1]):
    print(marshal.dumps(value, 2).hex())";
    let list = |items: Vec<Value>| Ok(Value::List(items));
    let dict = |entries: &[(&'static str, i64)]| {
        Ok(Value::Map(entries.iter().map(|(key, number)| (*key, Value::Int(*number))).collect::<Map>()))
    };
    let cases: Vec<(&str, Result<Value, MarshalError>)> = vec![
        ("(1, (2,))", list(vec![Value::Int(1), Value::List(vec![Value::Int(2)])])),
        ("[intern, intern]", list(vec!["intern".into(), "intern".into()])),
        ("2**64 - 1", Ok(Value::BigInt(u64::MAX.to_string()))),
        ("-2**63", Ok(Value::Int(i64::MIN))),
        ("'a\\ud800b'", Ok("a\u{fffd}\u{fffd}\u{fffd}b".into())),
        (
            "{1: 1, None: 2, True and 'x': 3, 2.5: 4, b'k': 5}",
            dict(&[("1", 1), ("null", 2), ("x", 3), ("2.5", 4), ("k", 5)]),
        ),
        ("{(1,): 1}", Err(MarshalError::Key)),
        ("{1, 2}", Err(MarshalError::Type(b'<'))),
        ("1j", Err(MarshalError::Type(b'y'))),
        ("...", Err(MarshalError::Type(b'.'))),
        ("10**5000", Err(MarshalError::Large)),
    ];
    let sources: Vec<&str> = cases.iter().map(|(source, _)| *source).collect();
    let all = format!("(lambda intern: [{}])(sys.intern('intern'))", sources.join(","));
    let shown = Python::find().run(SCRIPT, &[&all], &[]);
    assert_eq!(shown.lines().count(), cases.len());
    for ((source, expected), line) in cases.iter().zip(shown.lines()) {
        assert_eq!(&loads(&from_hex(line)), expected, "{source}");
    }
}

#[test]
fn what_is_too_deep_or_ends_too_early_is_refused() {
    let deep = [b"(\x01\0\0\0".repeat(100_000), vec![b'N']].concat();
    assert_eq!(loads(&deep), Err(MarshalError::Deep));
    assert_eq!(loads(b"(\xff\xff\xff\x7fN"), Err(MarshalError::Short));
    assert_eq!(loads(b"s\xff\xff\xff\x7f"), Err(MarshalError::Short));
    assert_eq!(loads(b"s\xff\xff\xff\xff"), Err(MarshalError::Large));
    assert_eq!(loads(b"l\0\0\0\x80"), Err(MarshalError::Large));
    assert_eq!(loads(b"NN"), Err(MarshalError::Trailing));
    assert_eq!(dumps(&Value::BigInt("9".repeat(4301))), Err(MarshalError::Large));
}

#[test]
fn a_writer_makes_the_values_that_it_was_told_in_parts() {
    let mut writer = Writer::new();
    writer.tuple(3).str("kind").uint(u64::MAX).dict().str("key").bytes(b"\0").end();
    let key = Map::from_iter([("key", Value::Bytes(vec![0]))]);
    let expected = Value::List(vec!["kind".into(), Value::BigInt(u64::MAX.to_string()), Value::Map(key)]);
    assert_eq!(loads(&writer.finish().unwrap()), Ok(expected));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        value in values(),
        junk in vec(any::<u8>(), 0..200),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let _ = loads(&junk);
        let mut bytes = dumps(&value).unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = loads(&bytes);
            let _ = loads(&bytes[..place]);
        }
    }
}
