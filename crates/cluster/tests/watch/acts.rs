//! What a driver does, and what must hold each time.

use std::sync::Arc;

use celeriac_cluster::gossip;
use celeriac_cluster::heart;
use celeriac_cluster::watch::Action;
use celeriac_cluster::watch::message::{Happening, Key, Message, Reason};
use celeriac_protocol::Event;

use super::process::{Outcome, Parcel, Role};
use super::sim::{Sim, What};
use super::told::Word;

impl Sim {
    pub fn carry_out(&mut self, place: usize, action: Action) {
        if self.trace {
            self.note(place, &shorten(&action));
        }
        let word = Word::of(&action);
        let process = &mut self.processes[place];
        match action {
            Action::Joined(worker) | Action::Left(worker) | Action::Lost(worker) => {
                if let Some(word) = word {
                    self.tell(place, word, &worker.hostname, worker.pid);
                }
            }
            Action::Drifted(drift) => process.drifts.push(drift.hostname),
            Action::Twins(_) => process.twins += 1,
            Action::Crowded { .. } => self.fail("crowded"),
            Action::Greet => {}
            Action::Follows { lead, term } => process.follows = Some((lead, term)),
            Action::Listen(ears) => {
                process.wanted = ears;
                // Queues are let go of at once; one that is wanted again is a new one.
                process.ears.events &= ears.events;
                process.ears.watchers &= ears.watchers;
                process.ears.lead &= ears.lead;
                let session = process.session;
                let wait = 2.0 * self.faults.delay(&mut self.random);
                self.later(wait, What::Bind { process: place, session, ears });
            }
            Action::Send { key, message, mandatory } => {
                self.publish(place, Parcel::Message(key, message), mandatory);
            }
            Action::Publish { hostname, pid, clock, kind, fields } => {
                let event = process.event(kind, fields, self.now);
                let clock = clock.or(event.clock);
                let event = Event { hostname: hostname.to_string(), pid, clock, ..event };
                self.publish(place, Parcel::Event(Arc::new(event)), false);
            }
            Action::Announce => self.beat(place, heart::Input::Start),
            Action::Elected { id, leader, run } => {
                process.outcomes.push(Outcome { id, leader, runs: run.is_some() });
            }
            Action::Expired(id) => process.expired.push(id),
            Action::Ignored(_) => process.ignored += 1,
        }
    }

    pub fn carry_out_classic(&mut self, place: usize, actions: Vec<gossip::Action>) {
        for action in actions {
            let process = &mut self.processes[place];
            match action {
                gossip::Action::Publish { kind, fields } => {
                    let event = process.event(kind, fields, self.now);
                    self.publish(place, Parcel::Event(Arc::new(event)), false);
                }
                gossip::Action::Elected { id, leader, run } => {
                    process.outcomes.push(Outcome { id, leader, runs: run.is_some() });
                }
                gossip::Action::Expired(id) => process.expired.push(id),
                _ => {}
            }
        }
    }

    /// A handler is told something of another worker.
    fn tell(&mut self, place: usize, word: Word, hostname: &str, pid: Option<i64>) {
        let pid = pid.and_then(|pid| usize::try_from(pid - 1).ok());
        let pid = pid.or_else(|| self.visitor(place, word, hostname));
        let Some(other) = pid.filter(|other| *other < self.processes.len()) else {
            return self.fail(format_args!("{word:?} of {hostname}, which never was"));
        };
        let name = self.processes[other].hostname.clone();
        let me = self.processes[place].hostname.clone();
        if *name != *hostname {
            return self.fail(format_args!("{me}: {word:?} of {hostname} with {name}'s pid"));
        }
        if other == place {
            return self.fail(format_args!("{me} is told {word:?} of itself"));
        }
        if word == Word::Joined {
            for same in self.by_name[&name].iter().filter(|same| **same != other) {
                self.processes[place].told.replace(*same);
            }
        }
        if !self.processes[place].told.note(other, word) {
            let tally = self.processes[place].told.of(other);
            self.fail(format_args!("{me} is told {word:?} of {name} ({pid:?}) out of turn: {tally:?}"));
        }
        // A lead that stands still hears nobody, and who misses messages misses who came back.
        let stood_still = [Some(other), Some(place), self.followed(place)];
        let is_excused = stood_still.into_iter().flatten().any(|one| self.is_excused(one))
            || self.faults.unheard > 0.0
            || word == Word::Left && self.faults.loss > 0.0;
        if word != Word::Joined && self.processes[other].is_here() && !is_excused {
            self.fail(format_args!("{me} is told {word:?} of {name}, which lives"));
        }
    }

    /// The process that it follows.
    fn followed(&self, place: usize) -> Option<usize> {
        let (lead, _) = self.processes[place].follows.as_ref()?;
        self.by_name.get(lead)?.last().copied()
    }

    /// Of one that came and went while we missed it, only the name is known: it is the last that has ended.
    fn visitor(&self, place: usize, word: Word, hostname: &str) -> Option<usize> {
        let told = &self.processes[place].told;
        let fits = |other: &usize| {
            let tally = told.of(*other);
            let is_new = tally.joined == 0 && !self.processes[*other].is_alive();
            if word == Word::Joined { is_new } else { tally.is_there }
        };
        self.by_name.get(hostname)?.iter().copied().rev().find(fits)
    }

    /// Whether it, or its connection, stood still lately.
    pub fn is_excused(&self, process: usize) -> bool {
        self.processes[process].excused_until >= self.now
    }

    /// Looks at what a worker says on the cluster's exchange.
    pub fn inspect(&mut self, from: usize, key: Key, message: &Arc<Message>) {
        if let Some(record) = &mut self.record {
            record.push((key, message.clone()));
        }
        match &**message {
            Message::Beat(beat) if key == Key::Beat => {
                if beat.node == self.processes[from].node {
                    self.reigns.note(beat, self.now);
                } else {
                    self.fail("a beat in another's name");
                }
            }
            Message::Change(change) => {
                for step in &change.steps {
                    self.inspect_step(from, step);
                }
            }
            _ => {}
        }
    }

    fn inspect_step(&mut self, from: usize, step: &Happening) {
        let Happening::Gone(gone) = step else { return };
        // What was found before it stood still may be told after.
        if self.is_excused(from) {
            return;
        }
        let known = self.by_name.get(&gone.hostname).map_or(&[][..], Vec::as_slice);
        let Some(other) = known.iter().copied().find(|other| self.processes[*other].is_here()) else {
            return;
        };
        if gone.reason != Reason::Lost || self.processes[other].role == Role::Heartless || known.len() > 1 {
            return;
        }
        let Some(&(last, gap)) = self.processes[from].heard.get(other) else { return };
        // A loss may be told a second after it was found.
        let silence = 2.4 * self.settings.heartbeat;
        if self.now - last < silence - 0.02 && self.now - gap > 1.6 {
            let name = self.processes[from].hostname.clone();
            let ago = self.now - last;
            self.fail(format_args!("{name} calls {} lost, which it heard {ago:.3} s ago", gone.hostname));
        }
    }
}

fn shorten(action: &Action) -> String {
    match action {
        Action::Joined(worker) => format!("- joined {} {:?}", worker.hostname, worker.pid),
        Action::Left(worker) => format!("- left {} {:?}", worker.hostname, worker.pid),
        Action::Lost(worker) => format!("- lost {} {:?}", worker.hostname, worker.pid),
        Action::Send { key, message, .. } => {
            let mut text = format!("> {key}: {message:?}");
            text.truncate(text.char_indices().nth(300).map_or(text.len(), |(end, _)| end));
            text
        }
        other => format!("- {other:?}"),
    }
}
