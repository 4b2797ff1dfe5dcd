//! In virtual time: one worker's roster, its elections by hand, and whole elections over a virtual network.

mod by_hand;
mod elections;
mod network;
mod peers;
mod roster;

use super::*;

const NOW: f64 = 1_800_000_000.0;

fn event(kind: &'static str, hostname: &str, clock: u64, fields: &[(&'static str, Value)]) -> Event {
    Event {
        kind: kind.into(),
        hostname: hostname.to_owned(),
        utcoffset: Some(0.0),
        pid: Some(1),
        clock: Some(clock),
        timestamp: NOW,
        fields: fields.iter().cloned().collect(),
    }
}

/// A heartbeat, or any other event of a heart.
fn beat(kind: &'static str, hostname: &str, clock: u64, software: &'static str) -> Event {
    event(kind, hostname, clock, &[("freq", 2.0.into()), ("sw_ident", software.into())])
}

fn hear(gossip: &mut Gossip, event: &Event, now: f64) -> Vec<Action> {
    gossip.handle(Input::Event { routing_key: &event.routing_key(), event }, now)
}

fn told(actions: &[Action]) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::Joined(worker) => format!("joined {}", worker.hostname),
        Action::Left(worker) => format!("left {}", worker.hostname),
        Action::Lost(worker) => format!("lost {}", worker.hostname),
        Action::Drifted(drift) => format!("drifted {}", drift.hostname),
        Action::Crowded { limit } => format!("crowded {limit}"),
        Action::Publish { kind, fields } => {
            format!("{kind} {}", fields.get("id").and_then(Value::as_str).unwrap())
        }
        Action::Elected { id, leader, run } => {
            format!("{id}: {leader}{}", if run.is_some() { " runs" } else { "" })
        }
        Action::Expired(id) => format!("expired {id}"),
        Action::Refused(error) => format!("refused: {error}"),
    };
    actions.iter().map(one).collect()
}
