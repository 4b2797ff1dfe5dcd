//! What a lease holds, taken apart and put back without being written anew: whatever a producer has put into a message
//! comes out as it went in.

use bytes::Bytes;
use celeriac_broker::Envelope;
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Value};

use crate::keys::Keys;

/// How the names of those begin who take leases here.
pub(crate) const OWNER: &str = "celeriac-";

/// A message that is to go back.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Returned {
    /// The exchange to go by; empty for the queue itself.
    pub exchange: String,
    pub routing_key: String,
    pub step: u8,
    pub payload: Vec<u8>,
}

/// Reads what a lease holds, `[message, exchange, routing key]`, and marks the message as redelivered as kombu does.
/// `None` when it is none.
pub(crate) fn read(tag: &str, lease: &[u8], keys: &Keys) -> Option<Returned> {
    let inner = lease.strip_prefix(b"[")?;
    // What we leased is between brackets as it was, even when it is no JSON.
    let end = match tag.starts_with(OWNER) {
        true => rfind(inner, b", \"\", \"")?,
        false => skip(inner, 0)?,
    };
    let (payload, rest) = inner.split_at_checked(end)?;
    let rest = rest.trim_ascii_start().strip_prefix(b",")?;
    let Value::List(address) = json([b"[", rest].concat())? else { return None };
    let [exchange, routing_key] = address.as_slice() else { return None };
    let priority = Envelope::decode(Bytes::copy_from_slice(payload)).ok();
    let priority = priority.and_then(|envelope| envelope.message.properties.priority);
    Some(Returned {
        exchange: exchange.as_str()?.to_owned(),
        routing_key: routing_key.as_str()?.to_owned(),
        step: keys.step(priority),
        payload: mark(payload),
    })
}

/// A name as JSON.
pub(crate) fn quoted(name: &str) -> Vec<u8> {
    let name = Value::from(name);
    // A text can always be written.
    codec::encode(&name, Serializer::Json, None).map(|body| body.data.to_vec()).unwrap_or_default()
}

fn json(data: Vec<u8>) -> Option<Value> {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        content_encoding: Serializer::Json.content_encoding().to_owned(),
        compression: None,
        data: data.into(),
    };
    codec::decode(&body, &Accept::default()).ok()
}

/// `headers.redelivered` and `properties.delivery_info.redelivered`.
fn mark(payload: &[u8]) -> Vec<u8> {
    let at = |start, name| member(payload, start, name);
    let headers = at(0, "headers");
    let info = at(0, "properties").and_then(|properties| at(properties, "delivery_info"));
    let mut places: Vec<usize> = [headers, info]
        .into_iter()
        .flatten()
        .filter(|place| payload.get(*place) == Some(&b'{') && at(*place, "redelivered").is_none())
        .map(|place| place + 1)
        .collect();
    places.sort_unstable();
    let mut marked = Vec::with_capacity(payload.len() + 60);
    let mut done = 0;
    for place in places {
        let (before, after) = payload.split_at(place);
        marked.extend_from_slice(before.get(done..).unwrap_or_default());
        marked.extend_from_slice(b"\"redelivered\": true");
        if after.trim_ascii_start().first() != Some(&b'}') {
            marked.extend_from_slice(b", ");
        }
        done = place;
    }
    marked.extend_from_slice(payload.get(done..).unwrap_or_default());
    marked
}

/// Where the value of a member begins in the object that begins at `start`.
fn member(json: &[u8], start: usize, name: &str) -> Option<usize> {
    let mut at = blank(json, start);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(json, at + 1);
    while json.get(at) == Some(&b'"') {
        let end = skip(json, at)?;
        let key = json.get(at + 1..end - 1)?;
        at = blank(json, end);
        if json.get(at) != Some(&b':') {
            return None;
        }
        at = blank(json, at + 1);
        if key == name.as_bytes() {
            return Some(at);
        }
        at = blank(json, skip(json, at)?);
        if json.get(at) != Some(&b',') {
            return None;
        }
        at = blank(json, at + 1);
    }
    None
}

/// Where the value that begins at `at` ends.
fn skip(json: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, at);
    loop {
        match *json.get(at)? {
            b'"' => {
                at += 1;
                while *json.get(at)? != b'"' {
                    at += if json.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            _ => {
                while json.get(at + 1).is_some_and(|byte| !b",:]} \t\r\n".contains(byte)) {
                    at += 1;
                }
            }
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn blank(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_ascii_start().len()
}

fn rfind(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).rposition(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    const PAYLOAD: &str = r#"{"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"n": 12345678901234567890, "e": [], "delivery_info": {"x": "}\"{"}}, "properties": {"priority": 4, "odd": 1e400, "delivery_info": {"exchange": "x", "routing_key": "k"}, "body_encoding": "base64", "delivery_tag": "t"}}"#;

    fn read(tag: &str, lease: &str) -> Option<Returned> {
        super::read(tag, lease.as_bytes(), &Keys::new(Options::default(), 0, false))
    }

    #[test]
    fn kombu_s_lease_is_read_and_marked() {
        let lease = format!(r#"[{PAYLOAD} ,"x", "kü\u00fc"]"#);
        let returned = read("ef02543a", &lease).unwrap();
        let marked = PAYLOAD
            .replace(r#""headers": {"#, r#""headers": {"redelivered": true, "#)
            .replace(r#"{"exchange""#, r#"{"redelivered": true, "exchange""#);
        assert_eq!(String::from_utf8(returned.payload.clone()).unwrap(), marked);
        assert_eq!(
            (returned.exchange.as_str(), returned.routing_key.as_str(), returned.step),
            ("x", "küü", 3)
        );
        let again = format!(r#"[{marked}, "x", "k"]"#);
        assert_eq!(read("t", &again).unwrap().payload, returned.payload, "it is marked once");
    }

    #[test]
    fn our_lease_is_read_whatever_it_holds() {
        for payload in ["nonsense", r#"], "", "q"], "#, "{", "", r#"{"headers": {}, "properties": 7}"#] {
            let queue = String::from_utf8(quoted("q\"ü]")).unwrap();
            let returned = read("celeriac-a.1.2", &format!(r#"[{payload}, "", {queue}]"#)).unwrap();
            assert_eq!((returned.exchange.as_str(), returned.routing_key.as_str()), ("", "q\"ü]"));
            let payload = payload.replace(r#""headers": {"#, r#""headers": {"redelivered": true"#);
            assert_eq!(String::from_utf8(returned.payload).unwrap(), payload);
        }
    }

    #[test]
    fn what_is_no_lease_is_none() {
        for lease in
            ["", "[", "{}", "[{}]", r#"[{}, "x"]"#, r#"[{}, 1, 2]"#, r#"[{"a, "x", "k"]"#, "[}]", "[\"\\"]
        {
            assert_eq!(read("t", lease), None, "{lease}");
            assert_eq!(read("celeriac-a.1.2", lease), None, "{lease}");
        }
    }

    #[test]
    fn a_large_lease_takes_no_square_of_time() {
        let lease = format!(r#"[{{"body": "{}", "properties": {{}}}}, "x", "k"]"#, "\\\"x".repeat(1_000_000));
        assert!(read("t", &lease).is_some() && read("celeriac-a.1.1", &lease).is_none());
    }
}
