//! Revokes are brought together: each compares its own with the lead's.

use celeriac_protocol::revoked::Revoked;

use super::message::{BUCKETS, Beat, Compare, Key, Message, PAGE, Revokes};
use super::revokes::{self, Exchange};
use super::{Action, Role, Time, Watch, send};

/// How many beats in a row must tell of other revokes: what was revoked just now is on its way.
const STRIKES: u32 = 2;
/// How often that doubles while comparing changes nothing: hosts may keep revokes for different times.
const PATIENCE: u32 = 6;

impl Watch {
    pub(super) fn compare_revokes(&mut self, beat: &Beat, revoked: &Revoked, now: Time) {
        let ours = revokes::digest(&revokes::buckets(revoked, now.wall));
        if beat.revoked == ours {
            self.strikes = 0;
            self.compare = None;
            return;
        }
        let compared = (beat.revoked, ours);
        if self.compared.0 != compared {
            self.compared = (compared, 0);
        }
        self.strikes += 1;
        if self.strikes >= STRIKES << self.compared.1 {
            self.compared.1 = PATIENCE.min(self.compared.1 + 1);
            self.strikes = 0;
            self.compare = Some(now.steady + self.random.below(super::following::JITTER));
        }
    }

    /// The digest of our revokes as it was within the last second: many may ask for a beat, and it is dear.
    pub(super) fn revoked_digest(&mut self, revoked: &Revoked, now: Time) -> u64 {
        let known = self.digest.filter(|(at, _)| now.steady - at < 1.0);
        let (_, digest) = *self.digest.insert(
            known.unwrap_or_else(|| (now.steady, revokes::digest(&revokes::buckets(revoked, now.wall)))),
        );
        digest
    }

    pub(super) fn compare(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        self.compare = None;
        let (exchange, question) =
            Exchange::begin(self.config.node, false, revoked, self.clock.forward(), now.wall);
        self.exchange = Some(exchange);
        actions.push(send(self.lead_key(), question));
    }

    /// Somebody compares its revokes with ours.
    pub(super) fn on_compare(
        &mut self,
        compare: &Compare,
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        self.clock.adjust(compare.clock);
        let watches = self.leads() || self.ears.watchers;
        if !watches || compare.node == self.config.node || compare.buckets.len() != BUCKETS {
            return;
        }
        if let Role::Leads(leading) = &mut self.role
            && !compare.starts
            && !leading.asks.rate.admit(now.steady)
        {
            let ours = revokes::buckets(revoked, now.wall);
            let differ = (0..BUCKETS).filter(|bucket| ours.get(*bucket) != compare.buckets.get(*bucket));
            let buckets = &mut leading.asks.buckets;
            buckets.extend(differ);
            buckets.sort_unstable();
            buckets.dedup();
            return;
        }
        let (strangers, clock) = (self.roster.has_strangers(), self.clock.forward());
        if let Role::Leads(leading) = &mut self.role
            && compare.starts
            && revoked.len() > PAGE
            && !leading.starts.admit(now.steady)
        {
            // A thousand that start would be told so much by itself each: they compare again when they gossip.
            let page = Revokes { buckets: Vec::new(), ids: Vec::new(), last: true, strangers, clock };
            return actions.push(send(Key::Node(compare.node), Message::Revokes(page)));
        }
        let pages = revokes::answer(compare, revoked, strangers, clock, now.wall);
        actions.extend(pages.into_iter().map(|page| send(Key::Node(compare.node), page)));
    }

    /// Tells all the revokes of some buckets.
    pub(super) fn tell_revokes(
        &mut self,
        buckets: &[usize],
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        if buckets.is_empty() {
            return;
        }
        // Who has other digests in these buckets gets them.
        let mut theirs = revokes::buckets(revoked, now.wall);
        for bucket in buckets {
            theirs.get_mut(*bucket).into_iter().for_each(|digest| *digest = !*digest);
        }
        let compare = Compare { node: self.config.node, starts: false, buckets: theirs, clock: 0 };
        let strangers = self.roster.has_strangers();
        let pages = revokes::answer(&compare, revoked, strangers, self.clock.forward(), now.wall);
        actions.extend(pages.into_iter().map(|page| send(Key::Change, page)));
    }

    /// The lead's revokes.
    pub(super) fn on_page(
        &mut self,
        page: &Revokes,
        revoked: &mut Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        self.clock.adjust(page.clock);
        let Some(exchange) = &mut self.exchange else {
            revokes::merge(&page.ids, revoked, now.wall);
            return;
        };
        if let Some(deltas) = exchange.on_page(page, revoked, now.wall) {
            self.exchange = None;
            let key = self.lead_key();
            actions.extend(deltas.into_iter().map(|delta| send(key, delta)));
        }
    }

    /// Revokes that somebody found missing; the lead tells all what is new to it.
    pub(super) fn on_delta(
        &mut self,
        ids: &[(String, f64)],
        revoked: &mut Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        let new = revokes::merge(ids, revoked, now.wall);
        if self.leads() && !new.is_empty() {
            actions.push(send(Key::Change, Message::Delta { ids: new }));
        }
    }
}
