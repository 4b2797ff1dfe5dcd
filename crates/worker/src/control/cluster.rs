//! What a worker knows of its cluster: a command of celeriac's own.

use std::sync::Arc;

use celeriac_protocol::{Map, Value};

use super::arguments::Arguments;
use super::command::CommandError;
use crate::consumer::Consumer;
use crate::settings::GossipMode;

/// Who leads, who watches, and how many there are. In what the lead answers, and in classic gossip in every answer, are
/// also the names of all: from each worker of a large cluster they would be too many.
pub(super) fn cluster(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let settings = &consumer.settings;
    let mode = settings.gossip.then(|| match settings.gossip_mode {
        GossipMode::Stream if !consumer.transport.capabilities().streams => GossipMode::Watch,
        mode => mode,
    });
    let Some(standing) = consumer.cluster.standing() else {
        // Watch gossip that has begun is known as such: this is classic, or none.
        return Ok(classic(consumer, mode.map(|_| GossipMode::Classic)));
    };
    let mut answer = Map::from_iter([
        ("gossip", Value::from(mode.map(GossipMode::name))),
        ("lead", standing.lead.as_deref().into()),
        ("leads", standing.leads.into()),
        ("term", standing.term.into()),
        ("version", standing.version.into()),
        ("digest", format!("{:016x}", standing.digest).into()),
        ("watchers", names(standing.watchers.iter().map(|name| &**name))),
        ("members", (standing.size as u64).into()),
    ]);
    if standing.leads {
        let roster = consumer.cluster.roster();
        answer.insert("roster", names(roster.iter().map(|name| &**name)));
    }
    Ok(answer.into())
}

/// Each worker has a roster of its own, and nobody leads.
fn classic(consumer: &Consumer, mode: Option<GossipMode>) -> Value {
    let mut roster: Vec<_> =
        consumer.cluster.members().iter().map(|member| member.hostname.to_string()).collect();
    roster.push(consumer.hostname().to_owned());
    roster.sort();
    Map::from_iter([
        ("gossip", Value::from(mode.map(GossipMode::name))),
        ("lead", Value::Null),
        ("leads", false.into()),
        ("term", Value::Null),
        ("version", Value::Null),
        ("digest", Value::Null),
        ("watchers", Value::List(Vec::new())),
        ("members", (roster.len() as u64).into()),
        ("roster", names(roster.iter().map(String::as_str))),
    ])
    .into()
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    Value::List(names.map(Value::from).collect())
}
