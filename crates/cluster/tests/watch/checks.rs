//! What must hold at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use celeriac_cluster::watch::Standing;

use super::process::{End, Role};
use super::sim::Sim;
use super::told::Tally;

/// Seconds after which a worker has taken part for long enough that it must have been told of all.
const SETTLED: f64 = 25.0;

impl Sim {
    /// The members that there should be: the newest of each name.
    pub fn truth(&self) -> BTreeMap<Arc<str>, usize> {
        let here = self.here().into_iter();
        let beating = here.filter(|place| self.processes[*place].heart.is_some());
        beating.map(|place| (self.processes[place].hostname.clone(), place)).collect()
    }

    /// Every worker knows the same members, lead, term and watchers, and these are the right ones.
    pub fn check_converged(&mut self) {
        let truth = self.truth();
        let places: Vec<usize> =
            self.here().into_iter().filter(|place| self.processes[*place].watch().is_some()).collect();
        let leads = self.leads();
        if leads.len() != 1 {
            let names: Vec<_> = leads.iter().map(|lead| self.processes[*lead].hostname.clone()).collect();
            return self.fail(format_args!("{} lead: {names:?}", leads.len()));
        }
        let lead = &self.processes[leads[0]];
        let Some(right) = lead.watch().map(|watch| watch.standing()) else { return };
        let able = truth.values().filter(|place| self.processes[**place].role == Role::Watch).count();
        if right.watchers.len() != able.min(self.settings.watchers)
            || right.lead != Some(lead.hostname.clone())
        {
            self.fail(format_args!("strange watchers: {right:?}"));
        }
        for (number, place) in places.iter().enumerate() {
            // In a large cluster the digest speaks for all but some.
            let closely = places.len() <= 100 || number % (places.len() / 20) == 0;
            if let Some(wrong) = self.disagreement(*place, &right, &truth, closely) {
                let name = self.processes[*place].hostname.clone();
                self.fail(format_args!("{name} {wrong}"));
            }
        }
    }

    fn disagreement(
        &self,
        place: usize,
        right: &Standing,
        truth: &BTreeMap<Arc<str>, usize>,
        closely: bool,
    ) -> Option<String> {
        let process = &self.processes[place];
        let watch = process.watch()?;
        let standing = Standing { leads: right.leads, ..watch.standing() };
        let right = Standing { size: truth.len(), ..right.clone() };
        let follows = right.lead.clone().map(|lead| (lead, right.term));
        if standing != right || process.follows != follows {
            let follows = &process.follows;
            return Some(format!("says {standing:?} and follows {follows:?}, the truth is {right:?}"));
        }
        // The older of two of one name is no member.
        if !closely || truth.get(&process.hostname).is_some_and(|newest| *newest != place) {
            return None;
        }
        let known: BTreeSet<usize> =
            watch.members().filter_map(|worker| usize::try_from(worker.pid? - 1).ok()).collect();
        let told: BTreeSet<usize> = process.told.present().collect();
        let others: BTreeSet<usize> = truth.values().copied().filter(|other| *other != place).collect();
        if known != others {
            return Some(format!("knows {known:?}, there are {others:?}"));
        }
        (told != others).then(|| format!("was told that {told:?} are there, there are {others:?}"))
    }

    /// Every happening that a worker could know was told it once. `strictly`: also why others went.
    pub fn check_told(&mut self, strictly: bool) {
        for observer in self.here() {
            if self.processes[observer].watch().is_none() {
                continue;
            }
            for other in 0..self.processes.len() {
                if let Some(wrong) = self.wrong(observer, other, strictly) {
                    let (me, name) = (&self.processes[observer], &self.processes[other]);
                    let text = format!(
                        "{} (since {:.1}) of {} ({}, {:.1} to {:?}): {wrong}",
                        me.hostname, me.started, name.hostname, name.pid, name.started, name.ended
                    );
                    return self.fail(text);
                }
            }
        }
    }

    /// No two leads shared a term for longer than so many seconds.
    pub fn check_reigns(&mut self, seconds: f64) {
        let shared = self.reigns.shared();
        if shared > seconds {
            self.fail(format_args!("two leads shared a term for {shared:.1} s"));
        }
    }

    fn wrong(&self, observer: usize, other: usize, strictly: bool) -> Option<String> {
        let (me, process) = (&self.processes[observer], &self.processes[other]);
        if observer == other
            || process.heart.is_none()
            || process.excused_until > 0.0
            || me.excused_until > 0.0
        {
            return None;
        }
        let tally = me.told.of(other);
        let say = |what: &str| Some(format!("{what}: {tally:?}"));
        let Tally { joined, left, lost, replaced, .. } = tally;
        if joined > 1 || left + lost > 1 {
            return say("told twice");
        }
        let Some((end, reason)) = process.ended else {
            return if joined == 1 && left + lost == 0 { None } else { say("lives") };
        };
        // What was there for a moment only, perhaps while there was no lead, is seen by nobody or by some.
        if end - process.started < SETTLED || end - me.started < SETTLED {
            return if left + lost <= joined { None } else { say("short") };
        }
        if joined != 1 {
            return say("not told that it joined");
        }
        if replaced {
            return None;
        }
        match (reason, strictly) {
            (_, false) if left + lost != 1 => say("not told that it went"),
            (End::Stopped, true) if (left, lost) != (1, 0) => say("not told that it left"),
            (End::Crashed, true) if (left, lost) != (0, 1) => say("not told that it was lost"),
            _ => None,
        }
    }
}
