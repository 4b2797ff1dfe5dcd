//! How the roster changes, and what is told of it: each happening once.

use std::sync::Arc;

use super::message::{Change, Departure, Happening, NodeId, Reason, Snapshot};
use super::roster::Member;
use super::told::HOLD;
use super::{Action, Role, Time, Watch, WatchError};

impl Watch {
    /// Takes over one change, and tells it unless it is known already.
    pub(super) fn apply(&mut self, happening: &Happening, actions: &mut Vec<Action>) {
        self.roster.apply(happening);
        match happening {
            Happening::Joined(member) => {
                // A roster that is full does not take it.
                let is_in =
                    self.roster.member(&member.hostname).is_some_and(|known| Arc::ptr_eq(known, member));
                if is_in && member.hostname != self.hostname && self.told.join(member) {
                    actions.push(Action::Joined(member.clone()));
                }
            }
            Happening::Gone(departure) => self.depart(departure, actions),
        }
    }

    fn arrive(&mut self, member: &Arc<Member>, now: Time, actions: &mut Vec<Action>) {
        if member.hostname != self.hostname && self.told.arrive(member, now.steady) {
            actions.push(Action::Joined(member.clone()));
        }
    }

    fn depart(&mut self, departure: &Departure, actions: &mut Vec<Action>) {
        if departure.hostname != self.hostname {
            self.hearing.forget(&departure.hostname);
            self.twins.remove(&departure.hostname);
            if let Some(member) = self.told.depart(departure) {
                tell_gone(member, departure.reason, actions);
            }
            return;
        }
        let is_me = departure.incarnation == self.config.incarnation;
        let is_there = self.roster.is_there(departure);
        actions.extend((is_me && !is_there && !self.retired).then_some(Action::Announce));
    }

    /// Tells of those that were doubted for long enough, and of those that are back. Only a lead can have heard of them,
    /// when it has led for a while.
    pub(super) fn tell_doubted(&mut self, now: Time, actions: &mut Vec<Action>) {
        let is_sure = match &self.role {
            Role::Follows(following) => {
                following.is_led_surely(now.steady) && self.is_synced() && !following.asks()
            }
            Role::Leads(_) => self.hearing.is_sure(now.steady),
        };
        if !is_sure {
            return self.told.hold(now.steady + 1.0);
        }
        for member in self.told.back(&self.roster, now.steady) {
            actions.push(Action::Joined(member));
        }
        for (member, reason) in self.told.due(&self.roster, now.steady) {
            tell_gone(member, reason, actions);
        }
    }

    /// Changes by our lead. One that does not continue what we know is made good by a snapshot.
    pub(super) fn on_change(
        &mut self,
        change: &Change,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        if change.node == self.config.node {
            return Ok(());
        }
        let is_led = matches!(&self.role, Role::Follows(following) if following.is_led_by(change.node));
        if !is_led {
            return Err(WatchError::Stranger("change"));
        }
        if change.term != self.term {
            return Err(WatchError::Stale("change"));
        }
        let version = self.roster.version();
        let base = change.version.saturating_sub(change.steps.len() as u64);
        if self.is_synced() && change.version <= version {
            return Err(WatchError::Stale("change"));
        }
        if !self.is_synced() || base > version {
            let pause = self.random.below(super::following::JITTER);
            if let Role::Follows(following) = &mut self.role {
                following.ask_at(now.steady + pause);
            }
            return Ok(());
        }
        let known = usize::try_from(version - base).unwrap_or(usize::MAX);
        for happening in change.steps.iter().skip(known) {
            self.apply(happening, actions);
        }
        if let Role::Follows(following) = &mut self.role
            && self.roster.hostname(change.node).is_none()
        {
            following.abandoned(now.steady);
        }
        Ok(())
    }

    /// Whether the roster of a node is to be read: to pass over a large one it need not be.
    pub fn reads(&self, node: NodeId, term: u64, version: u64) -> bool {
        match &self.role {
            Role::Follows(following) => following.is_led_by(node) && self.is_news(term, version),
            Role::Leads(_) => true,
        }
    }

    fn is_news(&self, term: u64, version: u64) -> bool {
        let asks = matches!(&self.role, Role::Follows(following) if following.asks());
        let known = self.roster.version();
        term == self.term && (!self.is_synced() || version > known || asks && version == known)
    }

    /// Our lead's whole roster. Who has come and gone in what we missed is not told.
    pub(super) fn on_snapshot(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        let Role::Follows(following) = &mut self.role else { return Ok(()) };
        if !following.is_led_by(snapshot.node) {
            return Err(WatchError::Stranger("snapshot"));
        }
        let is_new = now.steady < following.hold || !following.is_led_surely(now.steady);
        let (hold, version) = (following.hold, self.roster.version());
        if !self.is_news(snapshot.term, snapshot.version) {
            return Err(WatchError::Stale("snapshot"));
        }
        self.roster.replace(snapshot);
        self.hearing.retain(&self.roster);
        self.synced = Some((snapshot.term, snapshot.node));
        if let Role::Follows(following) = &mut self.role {
            following.stop_asking();
        }
        self.part_with_absent(snapshot, version, is_new.then_some(hold), now, actions);
        for member in self.roster.iter().cloned().collect::<Vec<_>>() {
            self.arrive(&member, now, actions);
        }
        Ok(())
    }

    /// Those who are not in a lead's roster are gone; a new lead, for which we hold that back, may not have heard yet of
    /// those who did not say so, and may not know that some came back up to the version that we had.
    fn part_with_absent(
        &mut self,
        snapshot: &Snapshot,
        version: u64,
        hold: Option<f64>,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        // One that was lost may have come back since.
        let is_gone = |gone: &&Departure| !self.roster.is_there(gone);
        let gone = snapshot.departures.iter().filter(|(_, gone)| is_gone(&gone)).collect::<Vec<_>>();
        let is_sure =
            |(at, gone): &&&(u64, Departure)| hold.is_none() || gone.reason == Reason::Left || *at > version;
        for (_, gone) in gone.iter().filter(is_sure) {
            self.depart(gone, actions);
        }
        for member in self.told.absent(&self.roster) {
            let reason = gone.iter().find(|(_, gone)| member.is(gone));
            let reason = reason.map_or(Reason::Left, |(_, gone)| gone.reason);
            let present = self.roster.member(&member.hostname);
            let is_newer = present.is_some_and(|present| member.is_newer(present));
            if is_newer || present.is_none() && hold.is_some() {
                let until = hold.unwrap_or_default().max(now.steady + HOLD);
                self.told.doubt(&member.hostname, reason, until);
            } else if present.is_none() {
                self.told.miss(&member.hostname);
                tell_gone(member, reason, actions);
            }
        }
    }
}

fn tell_gone(member: Arc<Member>, reason: Reason, actions: &mut Vec<Action>) {
    actions.push(match reason {
        Reason::Left => Action::Left(member),
        Reason::Lost => Action::Lost(member),
    });
}
