//! The fuzz target, fed with messages of children and with changes of them.

use celeriac_protocol::Value;
use celeriac_python::host::marshal::dumps;

#[path = "../../../fuzz/src/feed.rs"]
mod feed;
#[path = "../../../fuzz/src/marshal.rs"]
mod target;

#[test]
fn marshalled_values() {
    let list = |items: &[Value]| Value::List(items.to_vec());
    let answer = [7.into(), "ok".into(), 0.5.into(), "\u{e9}".into(), "".into(), (1_u64 << 40).into()];
    let seeds: Vec<Vec<u8>> = [
        list(&["done".into(), list(&[list(&answer)])]),
        list(&["up".into(), Value::BigInt("9".repeat(40)), Value::Bytes(vec![0, 255]), Value::Null]),
        Value::Map([("a", true.into()), ("b", list(&[false.into()]))].into_iter().collect()),
    ]
    .iter()
    .map(|value| dumps(value).unwrap())
    .collect();
    feed::run(target::read, &seeds, b"NTFilgus([{0\x80\x7f\xff");
}
