use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::message::{Departure, Reason};
use super::roster::{Member, Roster};

/// Seconds to wait before others are told of who is absent from a new lead's roster: it may not have heard them yet.
/// When it falls silent itself, that is known before.
pub(super) const HOLD: f64 = 6.5;
/// How many that are gone are remembered: a new lead may not know it yet.
const GONE: usize = 1_000;

/// What handlers and logs were told of the members: whose joining, and nothing since.
///
/// Leads change, and one may know less than another. What is told of a process is its joining and its end, once each.
#[derive(Debug, Default)]
pub(super) struct Told {
    present: HashMap<Arc<str>, Arc<Member>>,
    /// Those of them that no roster has: until when nobody is told so, and what is told then.
    doubted: HashMap<Arc<str>, (f64, Reason)>,
    /// Those who were gone, and are in the roster of a lead that may not know it: until when nobody is told.
    returned: HashMap<Arc<str>, (f64, Arc<Member>)>,
    gone: VecDeque<Departure>,
}

impl Told {
    /// A member has joined, whatever was said of it before; whether that is to be told.
    pub(super) fn join(&mut self, member: &Arc<Member>) -> bool {
        self.gone.retain(|gone| !member.is(gone));
        self.arrive(member, 0.0)
    }

    /// A member is in a lead's roster; whether that is to be told.
    pub(super) fn arrive(&mut self, member: &Arc<Member>, now: f64) -> bool {
        self.returned.remove(&member.hostname);
        let told = self.present.get(&member.hostname);
        if told.is_some_and(|told| told.incarnation == member.incarnation) {
            self.doubted.remove(&member.hostname);
            return false;
        }
        if told.is_some_and(|told| told.is_newer(member)) {
            return false;
        }
        if self.gone.iter().any(|gone| member.is(gone)) {
            self.returned.insert(member.hostname.clone(), (now, member.clone()));
            return false;
        }
        self.doubted.remove(&member.hostname);
        self.present.insert(member.hostname.clone(), member.clone());
        true
    }

    /// A member is gone; it, if that is to be told.
    pub(super) fn depart(&mut self, gone: &Departure) -> Option<Arc<Member>> {
        self.returned.remove(&gone.hostname);
        self.remember(gone.clone());
        let is_told = self.present.get(&gone.hostname).is_some_and(|told| told.is(gone));
        is_told.then(|| self.forget(&gone.hostname)).flatten()
    }

    /// It is told that this one, who is in no roster, is gone: whatever is said of it, it may be back.
    pub(super) fn miss(&mut self, hostname: &str) {
        if let Some(member) = self.forget(hostname) {
            let Member { hostname, incarnation, .. } = &*member;
            let gone =
                Departure { hostname: hostname.clone(), incarnation: *incarnation, reason: Reason::Lost };
            self.remember(gone);
        }
    }

    fn forget(&mut self, hostname: &str) -> Option<Arc<Member>> {
        self.doubted.remove(hostname);
        self.present.remove(hostname)
    }

    fn remember(&mut self, gone: Departure) {
        let is_same =
            |old: &&mut Departure| old.hostname == gone.hostname && old.incarnation == gone.incarnation;
        if let Some(known) = self.gone.iter_mut().find(is_same) {
            known.reason = gone.reason;
        } else {
            self.gone.push_back(gone);
        }
        if self.gone.len() > GONE {
            self.gone.pop_front();
        }
    }

    /// Those of whom it was told that they are there, and who are not in a roster.
    pub(super) fn absent(&self, roster: &Roster) -> Vec<Arc<Member>> {
        let is_absent = |told: &&Arc<Member>| {
            roster.member(&told.hostname).is_none_or(|member| member.incarnation != told.incarnation)
        };
        let mut absent: Vec<_> = self.present.values().filter(is_absent).cloned().collect();
        absent.sort_by_key(|member| member.number);
        absent
    }

    /// It may be there; nobody is told before `until`.
    pub(super) fn doubt(&mut self, hostname: &Arc<str>, reason: Reason, until: f64) {
        self.doubted.entry(hostname.clone()).or_insert((until, reason)).1 = reason;
    }

    /// Another lead may know better: nothing is told before `until`.
    pub(super) fn hold(&mut self, until: f64) {
        let doubted = self.doubted.values_mut().map(|(held, _)| held);
        let returned = self.returned.values_mut().map(|(held, _)| held);
        doubted.chain(returned).for_each(|held| *held = held.max(until));
    }

    /// Those that were doubted for long enough, and of whom the roster has not even an earlier process.
    pub(super) fn due(&mut self, roster: &Roster, now: f64) -> Vec<(Arc<Member>, Reason)> {
        let mut due = Vec::new();
        for (hostname, (until, reason)) in self.doubted.iter_mut().filter(|(_, (until, _))| *until <= now) {
            match (roster.member(hostname), self.present.get(hostname)) {
                (None, Some(member)) => due.push((member.clone(), *reason)),
                _ => *until = now + HOLD,
            }
        }
        due.iter().for_each(|(member, _)| self.miss(&member.hostname));
        due.sort_by_key(|(member, _)| member.number);
        due
    }

    /// Those who were gone and are there after all.
    pub(super) fn back(&mut self, roster: &Roster, now: f64) -> Vec<Arc<Member>> {
        let due = self.returned.extract_if(|_, (until, _)| *until <= now);
        let is_there = |member: &Arc<Member>| {
            roster.member(&member.hostname).is_some_and(|known| known.incarnation == member.incarnation)
        };
        let mut back: Vec<_> = due.map(|(_, (_, member))| member).filter(is_there).collect();
        back.sort_by_key(|member| member.number);
        back.retain(|member| self.join(member));
        back
    }

    pub(super) fn next_timeout(&self) -> f64 {
        let doubted = self.doubted.values().map(|(until, _)| *until);
        let returned = self.returned.values().map(|(until, _)| *until);
        doubted.chain(returned).fold(f64::MAX, f64::min)
    }
}
