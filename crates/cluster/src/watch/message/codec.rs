#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use celeriac_protocol::{Map, Value};

use super::{
    BUCKETS, Beat, Change, Compare, Departure, Elected, Happening, MAX_CLOCK, MAX_COUNT, MAX_DEPARTURES,
    MAX_HOSTNAME, MAX_ID, MAX_MEMBERS, MAX_WATCHERS, Member, Message, MessageError, NodeId, PAGE, Reason,
    Revokes, Snapshot, Stand,
};
use crate::watch::roster::{FREQS, MAX_TEXT};

/// The most bytes of `HOSTNAME.PID`.
const MAX_NAME: usize = 600;

pub(super) fn to_value(message: &Message) -> Value {
    let entries: Vec<(&'static str, Value)> = match message {
        Message::Beat(beat) => vec![
            ("node", node_value(beat.node)),
            ("hostname", text_value(&beat.hostname)),
            ("term", beat.term.into()),
            ("seq", beat.seq.into()),
            ("interval", beat.interval.into()),
            ("version", beat.version.into()),
            ("size", size_value(beat.size)),
            ("digest", hex_value(beat.digest)),
            ("watchers", list_value(&beat.watchers, |node| node_value(*node))),
            ("sure", beat.sure.into()),
            ("revoked", hex_value(beat.revoked)),
            ("clock", beat.clock.into()),
        ],
        Message::Change(change) => vec![
            ("node", node_value(change.node)),
            ("term", change.term.into()),
            ("version", change.version.into()),
            ("steps", list_value(&change.steps, step_value)),
        ],
        Message::Snapshot(snapshot) => vec![
            ("node", node_value(snapshot.node)),
            ("term", snapshot.term.into()),
            ("version", snapshot.version.into()),
            ("members", list_value(&snapshot.members, |member| member_value(member))),
            ("departures", list_value(&snapshot.departures, departure_value)),
        ],
        Message::Ask { node } | Message::Probe { node } => vec![("node", node_value(*node))],
        Message::Compare(compare) => vec![
            ("node", node_value(compare.node)),
            ("starts", compare.starts.into()),
            ("buckets", list_value(&compare.buckets, |digest| hex_value(*digest))),
            ("clock", compare.clock.into()),
        ],
        Message::Revokes(page) => vec![
            ("buckets", list_value(&page.buckets, |bucket| size_value(*bucket))),
            ("ids", list_value(&page.ids, id_value)),
            ("last", page.last.into()),
            ("strangers", page.strangers.into()),
            ("clock", page.clock.into()),
        ],
        Message::Delta { ids } => vec![("ids", list_value(ids, id_value))],
        Message::Stand(stand) => vec![
            ("node", node_value(stand.node)),
            ("id", text_value(&stand.id)),
            ("topic", text_value(&stand.topic)),
            ("clock", stand.clock.into()),
            ("name", text_value(&stand.name)),
            ("again", stand.again.into()),
        ],
        Message::Elected(elected) => vec![
            ("node", node_value(elected.node)),
            ("id", text_value(&elected.id)),
            ("leader", text_value(&elected.leader)),
            ("clock", elected.clock.into()),
        ],
    };
    let kind = [("type", message.kind().into())];
    Value::Map(kind.into_iter().chain(entries).collect())
}

fn step_value(step: &Happening) -> Value {
    match step {
        Happening::Joined(member) => vec!["joined".into(), member_value(member)].into(),
        Happening::Gone(gone) => gone_values(gone).to_vec().into(),
    }
}

fn departure_value((version, gone): &(u64, Departure)) -> Value {
    let [reason, hostname, incarnation] = gone_values(gone);
    vec![(*version).into(), reason, hostname, incarnation].into()
}

fn gone_values(gone: &Departure) -> [Value; 3] {
    let reason = match gone.reason {
        Reason::Left => "left",
        Reason::Lost => "lost",
    };
    [reason.into(), text_value(&gone.hostname), gone.incarnation.into()]
}

fn member_value(member: &Member) -> Value {
    vec![
        member.number.into(),
        text_value(&member.hostname),
        member.incarnation.into(),
        member.node.map(node_value).into(),
        member.pid.into(),
        member.freq.into(),
        member.sw_ident.as_deref().into(),
        member.sw_ver.as_deref().into(),
        member.sw_sys.as_deref().into(),
    ]
    .into()
}

fn id_value((id, age): &(String, f64)) -> Value {
    vec![text_value(id), (*age).into()].into()
}

fn node_value(node: NodeId) -> Value {
    node.to_string().into()
}

fn hex_value(digest: u64) -> Value {
    node_value(NodeId(digest))
}

fn text_value(text: &str) -> Value {
    text.into()
}

fn size_value(size: usize) -> Value {
    (size as u64).into()
}

fn list_value<T>(items: &[T], to_value: impl Fn(&T) -> Value) -> Value {
    items.iter().map(to_value).collect::<Vec<_>>().into()
}

pub(super) fn read(value: &Value) -> Result<Message, MessageError> {
    let map = value.as_map().ok_or_else(|| MessageError::NoDict(value.type_name()))?;
    let fields = |kind| Fields { kind, map };
    Ok(match map.get("type").and_then(Value::as_str) {
        Some("beat") => Message::Beat(beat(&fields("beat"))?),
        Some("change") => Message::Change(change(&fields("change"))?),
        Some("snapshot") => Message::Snapshot(snapshot(&fields("snapshot"))?),
        Some("ask") => Message::Ask { node: fields("ask").read("node", node)? },
        Some("probe") => Message::Probe { node: fields("probe").read("node", node)? },
        Some("compare") => Message::Compare(compare(&fields("compare"))?),
        Some("revokes") => Message::Revokes(revokes(&fields("revokes"))?),
        Some("delta") => Message::Delta { ids: fields("delta").read("ids", ids)? },
        Some("stand") => Message::Stand(stand(&fields("stand"))?),
        Some("elected") => Message::Elected(elected(&fields("elected"))?),
        _ => return Err(MessageError::Unknown),
    })
}

/// The fields of a message, and its type for what is wrong with them.
struct Fields<'a> {
    kind: &'static str,
    map: &'a Map,
}

impl Fields<'_> {
    fn read<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, MessageError> {
        let value = self.map.get(field).and_then(read);
        value.ok_or(MessageError::Field { kind: self.kind, field })
    }
}

fn beat(fields: &Fields<'_>) -> Result<Beat, MessageError> {
    let lead = fields.read("node", node)?;
    let is_first = |watchers: &Vec<NodeId>| watchers.first() == Some(&lead);
    Ok(Beat {
        node: lead,
        hostname: fields.read("hostname", hostname)?,
        term: fields.read("term", count)?,
        seq: fields.read("seq", count)?,
        interval: fields.read("interval", interval)?,
        version: fields.read("version", count)?,
        size: fields.read("size", |value| size(value).filter(|size| *size <= MAX_MEMBERS))?,
        digest: fields.read("digest", hex)?,
        watchers: fields.read("watchers", |value| list(value, MAX_WATCHERS, node).filter(is_first))?,
        sure: fields.read("sure", Value::as_bool)?,
        revoked: fields.read("revoked", hex)?,
        clock: fields.read("clock", clock)?,
    })
}

fn change(fields: &Fields<'_>) -> Result<Change, MessageError> {
    let steps = fields.read("steps", |value| {
        list(value, MAX_MEMBERS, step).filter(|steps: &Vec<Happening>| !steps.is_empty())
    })?;
    let is_reached = |version: &u64| *version >= steps.len() as u64;
    Ok(Change {
        node: fields.read("node", node)?,
        term: fields.read("term", count)?,
        version: fields.read("version", |value| count(value).filter(is_reached))?,
        steps,
    })
}

fn snapshot(fields: &Fields<'_>) -> Result<Snapshot, MessageError> {
    Ok(Snapshot {
        node: fields.read("node", node)?,
        term: fields.read("term", count)?,
        version: fields.read("version", count)?,
        members: fields.read("members", members)?,
        departures: fields.read("departures", |value| list(value, MAX_DEPARTURES, departure))?,
    })
}

fn compare(fields: &Fields<'_>) -> Result<Compare, MessageError> {
    let is_whole = |buckets: &Vec<u64>| buckets.len() == BUCKETS;
    Ok(Compare {
        node: fields.read("node", node)?,
        starts: fields.read("starts", Value::as_bool)?,
        buckets: fields.read("buckets", |value| list(value, BUCKETS, hex).filter(is_whole))?,
        clock: fields.read("clock", clock)?,
    })
}

fn revokes(fields: &Fields<'_>) -> Result<Revokes, MessageError> {
    let bucket = |value: &Value| size(value).filter(|bucket| *bucket < BUCKETS);
    let are_unique = |buckets: &Vec<usize>| is_unique(buckets.iter());
    Ok(Revokes {
        buckets: fields.read("buckets", |value| list(value, BUCKETS, bucket).filter(are_unique))?,
        ids: fields.read("ids", ids)?,
        last: fields.read("last", Value::as_bool)?,
        strangers: fields.read("strangers", Value::as_bool)?,
        clock: fields.read("clock", clock)?,
    })
}

fn stand(fields: &Fields<'_>) -> Result<Stand, MessageError> {
    Ok(Stand {
        node: fields.read("node", node)?,
        id: fields.read("id", id)?,
        topic: fields.read("topic", |value| text(value, MAX_ID))?,
        clock: fields.read("clock", clock)?,
        name: fields.read("name", name)?,
        again: fields.read("again", Value::as_bool)?,
    })
}

fn elected(fields: &Fields<'_>) -> Result<Elected, MessageError> {
    Ok(Elected {
        node: fields.read("node", node)?,
        id: fields.read("id", id)?,
        leader: fields.read("leader", name)?,
        clock: fields.read("clock", clock)?,
    })
}

/// What later versions add at the end of a list is passed over, here and below.
fn step(value: &Value) -> Option<Happening> {
    match value.as_list()? {
        [word, joined, ..] if word.as_str() == Some("joined") => Some(Happening::Joined(member(joined)?)),
        [word, hostname, incarnation, ..] => Some(Happening::Gone(gone(word, hostname, incarnation)?)),
        _ => None,
    }
}

fn departure(value: &Value) -> Option<(u64, Departure)> {
    let [version, reason, hostname, incarnation, ..] = value.as_list()? else { return None };
    Some((count(version)?, gone(reason, hostname, incarnation)?))
}

fn gone(word: &Value, name: &Value, incarnation: &Value) -> Option<Departure> {
    let reason = match word.as_str()? {
        "left" => Reason::Left,
        "lost" => Reason::Lost,
        _ => return None,
    };
    Some(Departure { hostname: hostname(name)?, incarnation: whole(incarnation)?, reason })
}

/// In the order of their numbers, each name once.
fn members(value: &Value) -> Option<Vec<Arc<Member>>> {
    let members = list(value, MAX_MEMBERS, member)?;
    let in_order = members.is_sorted_by(|one, next| one.number < next.number);
    let unique = is_unique(members.iter().map(|member| &member.hostname));
    (in_order && unique).then_some(members)
}

fn member(value: &Value) -> Option<Arc<Member>> {
    let [number, name, incarnation, own, pid, freq, sw_ident, sw_ver, sw_sys, ..] = value.as_list()? else {
        return None;
    };
    Some(Arc::new(Member {
        number: count(number)?,
        hostname: hostname(name)?,
        incarnation: whole(incarnation)?,
        node: option(own, node)?,
        pid: option(pid, Value::as_i64)?,
        freq: interval(freq)?,
        sw_ident: short(sw_ident)?,
        sw_ver: short(sw_ver)?,
        sw_sys: short(sw_sys)?,
    }))
}

fn ids(value: &Value) -> Option<Vec<(String, f64)>> {
    list(value, PAGE, |value| {
        let [revoked, age, ..] = value.as_list()? else { return None };
        let age = age.as_f64().filter(|age| age.is_finite() && *age >= 0.0)?;
        Some((id(revoked)?, age))
    })
}

/// A list of at most `limit` items, of which each can be read.
fn list<T>(value: &Value, limit: usize, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let items = value.as_list().filter(|items| items.len() <= limit)?;
    items.iter().map(read).collect()
}

/// What may be `None`.
fn option<'a, T>(value: &'a Value, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}

fn is_unique<T: Eq + std::hash::Hash>(mut items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    items.all(|item| seen.insert(item))
}

fn node(value: &Value) -> Option<NodeId> {
    value.as_str().and_then(NodeId::parse)
}

/// A digest has the digits of a node.
fn hex(value: &Value) -> Option<u64> {
    node(value).map(|node| node.0)
}

/// A Python worker's incarnation is a process id as it says it: any that is not negative.
fn whole(value: &Value) -> Option<u64> {
    u64::try_from(value.as_i64()?).ok()
}

fn count(value: &Value) -> Option<u64> {
    whole(value).filter(|count| *count <= MAX_COUNT)
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_i64()?).ok()
}

fn clock(value: &Value) -> Option<u64> {
    whole(value).map(|clock| clock.min(MAX_CLOCK))
}

/// Seconds between two heartbeats or beats; what is outside counts as the next that is inside.
fn interval(value: &Value) -> Option<f64> {
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite())?;
    Some(seconds.clamp(*FREQS.start(), *FREQS.end()))
}

fn hostname(value: &Value) -> Option<Arc<str>> {
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_HOSTNAME)?;
    Some(text.into())
}

fn id(value: &Value) -> Option<String> {
    text(value, MAX_ID).filter(|id| !id.is_empty())
}

fn name(value: &Value) -> Option<String> {
    text(value, MAX_NAME)
}

fn text(value: &Value, limit: usize) -> Option<String> {
    value.as_str().filter(|text| text.len() <= limit).map(str::to_owned)
}

/// A text that may be absent; one that is too long counts as absent.
fn short(value: &Value) -> Option<Option<Arc<str>>> {
    let text = option(value, |value| value.as_str())?;
    Some(text.filter(|text| text.len() <= MAX_TEXT).map(Arc::from))
}
