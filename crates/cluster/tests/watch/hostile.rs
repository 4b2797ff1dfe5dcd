//! Messages that nobody should have sent: never a takeover.

use std::sync::Arc;

use celeriac_cluster::watch::message::{
    Beat, Change, Departure, Happening, Key, Message, NodeId, Reason, Snapshot,
};
use celeriac_cluster::watch::roster::Member;

use super::process::Process;
use super::{Faults, Random, Role, Sim, each};

const FORGER: NodeId = NodeId(0xdead_beef);

/// What the lead says of itself, as its next beat would.
fn true_beat(sim: &Sim) -> Beat {
    let lead = &sim.processes[sim.lead()];
    let standing = lead.watch().unwrap().standing();
    Beat {
        node: lead.node,
        hostname: lead.hostname.clone(),
        term: standing.term,
        seq: 1,
        interval: 5.0,
        version: standing.version,
        size: standing.size,
        digest: standing.digest,
        watchers: vec![lead.node],
        sure: true,
        revoked: 0,
        clock: 1,
    }
}

fn member(number: u64) -> Arc<Member> {
    Arc::new(Member {
        number,
        hostname: format!("forged{number}@h").into(),
        incarnation: 1,
        node: Some(FORGER),
        pid: Some(1_000_000),
        freq: 2.0,
        sw_ident: None,
        sw_ver: None,
        sw_sys: None,
    })
}

/// Something that is not true, in the name of a node that is no member.
fn forged(sim: &Sim, random: &mut Random) -> (Key, Message) {
    let truth = true_beat(sim);
    let terms = [
        0,
        1,
        truth.term.saturating_sub(1),
        truth.term,
        truth.term + 1,
        truth.term + 999,
        truth.term + 1002,
        1 << 53,
    ];
    let term = random.pick(&terms).unwrap();
    let version =
        random.pick(&[0, 1, truth.version, truth.version + 1, truth.version + 100, 1 << 53]).unwrap();
    let node = FORGER;
    let hostname: Arc<str> = if random.chance(0.5) { truth.hostname.clone() } else { "forger@h".into() };
    let size = random.pick(&[0, 1, truth.size, 20_000]).unwrap();
    let steps = || {
        let name = sim.processes[0].hostname.clone();
        vec![
            Happening::Joined(member(1 << 52)),
            Happening::Gone(Departure { hostname: name, incarnation: 1, reason: Reason::Lost }),
        ]
    };
    let keys = [Key::Beat, Key::Change, Key::Lead, Key::Watchers, Key::Node(sim.processes[0].node)];
    let message = match random.below(4) {
        0 | 1 => {
            let (seq, digest, watchers) = (random.bits() >> 12, random.bits(), vec![node]);
            Message::Beat(Beat { node, hostname, term, seq, version, size, digest, watchers, ..truth })
        }
        2 => Message::Change(Change { node, term, version: version.max(2), steps: steps() }),
        _ => {
            let members = (1..20).map(member).collect();
            Message::Snapshot(Snapshot { node, term, version, members, departures: Vec::new() })
        }
    };
    (random.pick(&keys).unwrap(), message)
}

#[test]
fn forged_messages_change_neither_lead_nor_roster() {
    each(200, |run| {
        let size = run.size(1, 8);
        let mut sim = run.settled(size, Faults::NONE);
        sim.run(5.0);
        let lead = sim.lead();
        let words = sim.words();
        for _ in 0..100 {
            let (key, message) = forged(&sim, &mut run.random);
            sim.inject(key, message);
            sim.run(run.random.between(0.0, 0.5));
            let is_believed =
                |process: &Process| matches!(&process.follows, Some((lead, _)) if &**lead == "forger@h");
            if sim.processes.iter().any(is_believed) {
                sim.fail("the forger is followed");
            }
            if sim.leads() != [lead] {
                sim.fail(format_args!("{:?} lead", sim.leads()));
                break;
            }
        }
        sim.run(15.0);
        sim.check_converged();
        let after = sim.words();
        if after != words {
            sim.fail(format_args!("{} words for nothing", after - words));
        }
        if sim.processes.iter().all(|process| process.ignored == 0) {
            sim.fail("nothing was ignored");
        }
        sim
    });
}

#[test]
fn what_was_said_before_and_comes_again_changes_nothing() {
    each(150, |run| {
        let size = run.size(2, 8);
        let mut sim = run.sim(Faults::NONE);
        sim.record = Some(Vec::new());
        sim.start_many(size, "w", Role::Watch);
        sim.run(20.0);
        let crashed = sim.lead();
        sim.crash(crashed);
        sim.run(15.0);
        sim.start_again(crashed);
        sim.run(15.0);
        sim.check_converged();
        let said = sim.record.take().unwrap();
        let lead = sim.lead();
        let words = sim.words();
        for _ in 0..200 {
            let (key, message) = &said[run.random.below(said.len())];
            // A word to one node may be said to all, and the other way round.
            let all = sim.random.below(size);
            let keys = [*key, Key::Change, Key::Beat, Key::Node(sim.processes[all].node)];
            let key = run.random.pick(&keys).unwrap_or(*key);
            sim.inject(key, (**message).clone());
            sim.run(run.random.between(0.0, 0.3));
        }
        sim.run(15.0);
        sim.check_converged();
        if sim.lead() != lead {
            sim.fail("a replay made another lead");
        }
        let after = sim.words();
        if after != words {
            sim.fail(format_args!("{} words for nothing", after - words));
        }
        sim
    });
}

#[test]
fn a_beat_in_a_members_name_is_got_over() {
    each(80, |run| {
        let mut sim = run.settled(5, Faults::NONE);
        let Some(place) = sim.bystander() else { return sim };
        let (node, hostname) = (sim.processes[place].node, sim.processes[place].hostname.clone());
        let truth = true_beat(&sim);
        let term = run.random.pick(&[truth.term + 1, truth.term + 900, 1 << 51, 1 << 53]).unwrap();
        let version = run.random.pick(&[0, truth.version, truth.version + 1, 1 << 53]).unwrap();
        // What is far ahead is believed at the second time.
        for seq in 1..3 {
            let hostname = hostname.clone();
            let beat = Beat { node, hostname, term, seq, version, watchers: vec![node], ..true_beat(&sim) };
            sim.inject(Key::Beat, Message::Beat(beat));
            sim.run(0.5);
        }
        sim.run(25.0);
        sim.check_converged();
        // Those that lead and join later are believed, too.
        sim.crash(sim.lead());
        sim.start("late@h", Role::Watch);
        sim.run(25.0);
        sim.check_converged();
        sim.check_told(false);
        sim
    });
}
