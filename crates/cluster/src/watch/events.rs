//! What a watcher hears of the workers: Celery's heartbeats.

use celeriac_protocol::Event;
use celeriac_protocol::revoked::Revoked;

use super::elections::CANNOT_WIN;
use super::message::Reason;
use super::roster::{Member, freq, incarnation, starts};
use super::{Action, Role, Time, Watch};

/// How many processes of one name are told apart.
const TWINS: usize = 8;

impl Watch {
    pub(super) fn on_event(
        &mut self,
        event: &Event,
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        if !self.ears.events || event.group() != "worker" {
            return;
        }
        if *event.hostname == *self.hostname {
            return self.on_own(event, now, actions);
        }
        match event.subject() {
            "elect" => self.on_candidate(event, now, actions),
            "elect-ack" => {}
            "offline" => {
                self.adjust(event);
                self.on_offline(event, revoked, now, actions);
            }
            _ => {
                self.adjust(event);
                self.on_heard(event, now, actions);
                if self.resumes.is_none() && self.roster.member(&event.hostname).is_some() {
                    actions.extend(self.hearing.drift(event, now).map(Action::Drifted));
                }
            }
        }
    }

    fn adjust(&self, event: &Event) {
        if let Some(clock) = event.clock {
            self.clock.adjust(clock);
        }
    }

    /// Our own event came back, or one of another worker of our name.
    fn on_own(&mut self, event: &Event, now: Time, actions: &mut Vec<Action>) {
        if matches!(event.subject(), "elect" | "elect-ack") {
            return;
        }
        if incarnation(event) != self.config.incarnation {
            // One that went before we came may be heard of still.
            if !self.hearing.is_replay()
                && event.subject() != "offline"
                && self.twins.insert(self.hostname.clone())
            {
                actions.push(Action::Twins(self.hostname.clone()));
            }
            return;
        }
        self.hearing.heard_own(event, now);
        if event.subject() == "offline" && !self.hearing.is_replay() {
            self.retire(now);
        } else {
            self.retired = false;
        }
    }

    /// We go: others shall lead.
    pub(super) fn retire(&mut self, now: Time) {
        self.retired = true;
        if self.leads() {
            self.role = Role::Follows(super::following::Following::new(now.steady, self.config.beat));
        }
    }

    fn on_candidate(&mut self, event: &Event, now: Time, actions: &mut Vec<Action>) {
        let listens = self.roster.member(&event.hostname).is_some_and(|member| member.node.is_some());
        // Who does not lead remembers it: it may have to take over.
        if listens || event.clock == Some(CANNOT_WIN) {
            return;
        }
        let result = self
            .elect(now, actions, |elections, scene, actions| elections.on_candidate(scene, event, actions));
        actions.extend(result.err().map(Action::Ignored));
    }

    /// A worker says that it goes.
    fn on_offline(&mut self, event: &Event, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let Some(member) = self.roster.member(&event.hostname).cloned() else { return };
        let gone = incarnation(event);
        // What was said before its newest `online` is over.
        if gone != member.incarnation || self.hearing.is_before_online(event) {
            return;
        }
        self.hearing.gone(&member.hostname, gone, event.timestamp);
        if let Role::Follows(following) = &self.role {
            let is_second = following.is_second(&event.hostname, self.config.node);
            if !is_second || !self.can_watch() || self.resumes.is_some() {
                return;
            }
            self.claim(revoked, now, actions);
        }
        self.part(&member, Reason::Left, now, actions);
    }

    /// A worker lives.
    fn on_heard(&mut self, event: &Event, now: Time, actions: &mut Vec<Action>) {
        let Some(heard) = Member::of(event) else { return };
        if self.hearing.is_over(event, heard.incarnation) {
            return;
        }
        let Some(known) = self.roster.member(&event.hostname).cloned() else {
            // What waited in our queue may be older than its end.
            let is_behind = event.subject() != "online" && self.hearing.is_behind();
            let is_over = is_behind && self.roster.departed(&heard);
            if self.leads() && !is_over && !self.hearing.is_old(event, heard.freq, now) {
                let hostname = heard.hostname.clone();
                self.join(heard, now, actions);
                self.note_heard(&hostname, now);
            }
            return;
        };
        if known.incarnation == heard.incarnation {
            if !self.hearing.is_replay() {
                self.hearing.heard(&known.hostname, now.steady);
            }
            if event.subject() == "online" {
                self.hearing.online(&known.hostname, event.timestamp);
            }
            if let Some(freq) = freq(event) {
                self.hearing.tells_freq(&known.hostname, freq);
            }
        } else if self.is_newer(event, &heard, &known) {
            if let Role::Leads(leading) = &mut self.role {
                let previous = leading.previous.entry(known.hostname.clone()).or_default();
                if previous.len() >= TWINS {
                    previous.pop_front();
                }
                previous.push_back(known.incarnation);
                self.hearing.forget(&known.hostname);
                self.hearing.heard(&known.hostname, now.steady);
                self.join(heard, now, actions);
            }
        } else if self.twins.insert(known.hostname.clone()) {
            actions.push(Action::Twins(known.hostname.clone()));
        }
    }

    /// Whether another incarnation of a member came after the one that is known. Starts are in order; process ids are
    /// not, but those before are known.
    fn is_newer(&self, event: &Event, heard: &Member, known: &Member) -> bool {
        if starts(event).is_some() && known.node.is_some() {
            return heard.incarnation > known.incarnation;
        }
        let Role::Leads(leading) = &self.role else { return true };
        !leading.previous.get(&known.hostname).is_some_and(|previous| previous.contains(&heard.incarnation))
    }
}
