//! The broker: who gets what, and when.

use std::sync::Arc;

use celeriac_cluster::gossip;
use celeriac_cluster::watch::message::{Key, Message};
use celeriac_cluster::watch::{Ears, Input};
use celeriac_protocol::Event;

use super::process::{Kind, Parcel};
use super::sim::{Sim, What};

/// What takes so many seconds, the driver takes for the end of a blockade.
const LATE: f64 = 1.0;

impl Sim {
    /// Sends something to the broker; what one process sends arrives in its order.
    pub fn publish(&mut self, process: usize, parcel: Parcel, mandatory: bool) {
        let delay = self.faults.delay(&mut self.random);
        let now = self.now;
        let sender = &mut self.processes[process];
        // What cannot be published at once is dropped.
        if !sender.is_here() {
            return;
        }
        let from = Some((process, sender.session));
        sender.sent_until = sender.sent_until.max(now + delay);
        let at = sender.sent_until;
        match &parcel {
            Parcel::Message(key, message) => self.inspect(process, *key, message),
            Parcel::Event(event) => self.note(process, &event.kind),
        }
        self.at(at, What::Arrive { from, parcel, mandatory });
    }

    /// Sends something as nobody in particular.
    pub fn inject(&mut self, key: Key, message: Message) {
        self.at(
            self.now,
            What::Arrive { from: None, parcel: Parcel::Message(key, Arc::new(message)), mandatory: false },
        );
    }

    /// Something is at the broker: into which queues?
    pub fn arrive(&mut self, from: Option<(usize, u32)>, parcel: Parcel, mandatory: bool) {
        self.count.published += 1;
        let mut readers = 0;
        match &parcel {
            Parcel::Event(_) => {
                for index in 0..self.listeners.len() {
                    let listener = self.listeners[index];
                    if self.processes[listener].hears_events() {
                        readers += 1;
                        self.route(listener, &parcel);
                    }
                }
            }
            Parcel::Message(Key::Beat | Key::Change, _) => {
                for process in 0..self.processes.len() {
                    if self.processes[process].is_here() && self.processes[process].watch().is_some() {
                        readers += 1;
                        self.route(process, &parcel);
                    }
                }
            }
            Parcel::Message(Key::Node(node), _) => {
                let reader = self.by_node.get(node).copied();
                let reader = reader.filter(|process| self.processes[*process].is_here());
                if let Some(process) = reader.filter(|process| self.processes[*process].watch().is_some()) {
                    readers = 1;
                    self.route(process, &parcel);
                }
            }
            Parcel::Message(key, _) => {
                let hears = |ears: Ears| if *key == Key::Lead { ears.lead } else { ears.watchers };
                for index in 0..self.listeners.len() {
                    let listener = self.listeners[index];
                    if hears(self.processes[listener].ears) {
                        readers += 1;
                        self.route(listener, &parcel);
                    }
                }
            }
        }
        let Some((to, session)) = from else { return };
        let (taken, mut delay) = (self.faults.taken, 0.0);
        if taken > 0.0 {
            delay += self.random.between(0.5, 1.0) * taken;
        }
        if mandatory {
            delay += self.faults.delay(&mut self.random);
            self.later(delay, What::Confirm { to, session, returned: readers == 0 });
        }
        if delay > LATE {
            self.later(delay, What::Unblock { to, session });
        }
    }

    /// Something is in a queue.
    fn route(&mut self, to: usize, parcel: &Parcel) {
        let faults = self.faults;
        let is_event = matches!(parcel, Parcel::Event(_));
        if self.random.chance(if is_event { faults.unheard } else { faults.loss }) {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(faults.duplicates));
        for _ in 0..copies {
            let mut at = self.now + faults.delay(&mut self.random);
            let reader = &mut self.processes[to];
            at += if is_event { reader.lag } else { 0.0 };
            if self.random.chance(faults.reordered) {
                at += 0.5 * self.random.unit();
            } else if is_event {
                at = at.max(reader.events_until);
                reader.events_until = at;
            } else {
                at = at.max(reader.mailbox_until);
                reader.mailbox_until = at;
            }
            let session = reader.session;
            self.at(at, What::Deliver { to, session, parcel: parcel.clone() });
        }
    }

    pub fn deliver(&mut self, to: usize, session: u32, parcel: Parcel) {
        if !self.is_session(to, session) {
            return;
        }
        self.count.delivered += 1;
        if let Parcel::Message(_, message) = &parcel {
            self.count.elections += u64::from(matches!(**message, Message::Stand(_) | Message::Elected(_)));
            self.count.snapshots += u64::from(matches!(**message, Message::Snapshot(_)));
        }
        if self.processes[to].is_paused {
            self.processes[to].backlog.push_back(parcel);
        } else {
            self.take(to, &parcel);
        }
    }

    /// A process handles what has come.
    pub fn take(&mut self, to: usize, parcel: &Parcel) {
        match parcel {
            Parcel::Message(_, message) => self.hand(to, Input::Message(message)),
            Parcel::Event(event) => self.hear(to, event),
        }
    }

    fn hear(&mut self, to: usize, event: &Event) {
        let silence = 2.4 * self.settings.heartbeat - 0.02;
        let now = self.now;
        let process = &mut self.processes[to];
        let wall = process.time(now).wall;
        let other = event.pid.and_then(|pid| usize::try_from(pid - 1).ok());
        if let Some(other) = other.filter(|_| !event.kind.starts_with("worker-elect")) {
            process.hear(other, silence, now);
        }
        match &mut process.kind {
            Kind::Watch(_) => self.hand(to, Input::Event(event)),
            Kind::Classic(gossip) => {
                let routing_key = event.routing_key();
                let input = gossip::Input::Event { routing_key: &routing_key, event };
                let actions = gossip.handle(input, wall);
                self.carry_out_classic(to, actions);
                self.plan_tick(to);
            }
            Kind::Python(python) => {
                process.clock.adjust(event.clock.unwrap_or(0));
                if let Some((kind, fields)) = python.hear(event, now) {
                    let event = process.event(kind, fields, now);
                    self.publish(to, Parcel::Event(Arc::new(event)), false);
                }
            }
            Kind::Deaf => {}
        }
    }

    /// The queues that a process wanted are bound.
    pub fn bind(&mut self, process: usize, session: u32, ears: Ears) {
        if !self.is_session(process, session) || self.processes[process].wanted != ears {
            return;
        }
        let heard = self.processes[process].ears.events;
        self.processes[process].ears = ears;
        self.listeners.retain(|listener| *listener != process);
        if self.processes[process].has_ears() {
            self.listeners.push(process);
        }
        if ears.events && !heard {
            self.listening(process, session);
        }
    }

    /// A driver says so when it goes on, if it stands still.
    pub fn listening(&mut self, process: usize, session: u32) {
        if !self.is_session(process, session) {
            return;
        }
        if self.processes[process].is_paused {
            return self.later(0.1, What::Listening { process, session });
        }
        self.hand(process, Input::Listening);
    }

    /// What was taken so late says that the broker took nothing for a while.
    pub fn unblock(&mut self, to: usize, session: u32) {
        if self.is_session(to, session) && !self.processes[to].is_paused {
            self.hand(to, Input::Unblocked);
        }
    }

    pub fn confirm(&mut self, to: usize, session: u32, returned: bool) {
        if !self.is_session(to, session) {
            return;
        }
        if self.processes[to].is_paused {
            return self.later(0.1, What::Confirm { to, session, returned });
        }
        if !returned {
            return self.hand(to, Input::Accepted);
        }
        self.note(to, "is returned a message");
        self.hand(to, Input::Returned);
    }
}
