//! Who is a member by the lead's word, and who watches.

use std::sync::Arc;

use crate::watch::message::{Departure, Happening, MAX_MEMBERS, Reason};
use crate::watch::roster::Member;
use crate::watch::{Action, Role, Time, Watch};

impl Watch {
    /// Something happens to a member: it is told here now, to the others soon.
    pub(in crate::watch) fn happen(&mut self, happening: Happening, now: Time, actions: &mut Vec<Action>) {
        self.apply(&happening, actions);
        if let Some(leading) = self.leading() {
            leading.pending.push(happening);
        }
        self.check_watchers(now);
    }

    /// We are a member of the roster by which we begin to lead.
    pub(in crate::watch) fn join_myself(&mut self) {
        let known = self.roster.member(&self.hostname);
        let is_there = known.is_some_and(|member| member.incarnation == self.config.incarnation);
        if is_there || self.config.heartbeat.is_none() {
            return;
        }
        let member = Member {
            number: self.roster.next_number(),
            hostname: self.hostname.clone(),
            incarnation: self.config.incarnation,
            node: Some(self.config.node),
            pid: Some(self.config.pid.into()),
            freq: self.heartbeat(),
            sw_ident: Some(crate::heart::IDENT.into()),
            sw_ver: Some(env!("CARGO_PKG_VERSION").into()),
            sw_sys: Some(crate::heart::system().into()),
        };
        self.roster.apply(&Happening::Joined(Arc::new(member)));
    }

    /// A worker joins, or comes back: with the next number.
    pub(in crate::watch) fn join(&mut self, member: Member, now: Time, actions: &mut Vec<Action>) {
        let is_new = self.roster.member(&member.hostname).is_none();
        if is_new && self.roster.is_full() {
            if !std::mem::replace(&mut self.crowd_told, true) {
                actions.push(Action::Crowded { limit: MAX_MEMBERS });
            }
            return;
        }
        let member = Member { number: self.roster.next_number(), ..member };
        self.happen(Happening::Joined(Arc::new(member)), now, actions);
    }

    /// A member was heard; who found no place is none.
    pub(in crate::watch) fn note_heard(&mut self, hostname: &Arc<str>, now: Time) {
        if self.roster.member(hostname).is_some() {
            self.hearing.heard(hostname, now.steady);
        }
    }

    /// A member is gone.
    pub(in crate::watch) fn part(
        &mut self,
        member: &Member,
        reason: Reason,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        let departure =
            Departure { hostname: member.hostname.clone(), incarnation: member.incarnation, reason };
        if let Some(leading) = self.leading() {
            leading.previous.remove(&member.hostname);
        }
        self.happen(Happening::Gone(departure), now, actions);
    }

    /// Looks who was silent for too long, and who is to watch.
    pub(super) fn look(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.hearing.judges(self.heartbeat(), now) && now.steady >= self.grace {
            let is_lost = |member: &&Arc<Member>| {
                member.hostname != self.hostname
                    && self.hearing.is_silent(&member.hostname, member.freq, now.steady)
            };
            let lost: Vec<_> = self.roster.iter().filter(is_lost).cloned().collect();
            for member in lost {
                self.part(&member, Reason::Lost, now, actions);
            }
        }
        self.choose_watchers(now);
    }

    /// Who started before we knew of Python's workers has not asked them, nor have we perhaps.
    pub(super) fn greet(&mut self, now: Time, actions: &mut Vec<Action>) {
        let is_sure = self.hearing.is_sure(now.steady);
        let Role::Leads(leading) = &mut self.role else { return };
        if is_sure && !std::mem::replace(&mut leading.greeted, true) && self.roster.has_strangers() {
            actions.push(Action::Greet);
        }
    }

    /// The members of the lowest numbers that were heard watch. Who watches goes on.
    pub(in crate::watch) fn choose_watchers(&mut self, now: Time) {
        let Role::Leads(leading) = &mut self.role else { return };
        if now.steady < leading.chooses || leading.watchers.len() >= leading.limit {
            return;
        }
        let free = self.roster.iter().filter(|member| self.hearing.hears(member, now.steady));
        let free = free.filter_map(|member| member.node);
        let free = free.filter(|node| *node != self.config.node && !leading.watchers.contains(node));
        let chosen: Vec<_> = free.take(leading.limit - leading.watchers.len()).collect();
        if !chosen.is_empty() {
            leading.watchers.extend(chosen);
            self.beat_soon(now);
        }
    }

    /// A watcher that is gone watches no more; all shall know it soon.
    fn check_watchers(&mut self, now: Time) {
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.watchers.is_empty() {
            return;
        }
        let before = leading.watchers.len();
        let roster = &self.roster;
        leading.watchers.retain(|node| roster.hostname(*node).is_some());
        if leading.watchers.len() < before {
            self.choose_watchers(now);
            self.beat_soon(now);
        }
    }
}
