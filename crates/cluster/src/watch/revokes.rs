//! How workers come to know the same revokes.
//!
//! Whoever starts, or sees in the lead's beat that its own differ, sends the digests of its buckets; the answer is all
//! ids of those that differ, in pages; what these do not hold goes back as a delta, which is spread. An id travels
//! with its age and keeps it, so that it expires everywhere at about one time; a minute before that it is told no
//! more, since it would come back where it is over.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use celeriac_protocol::revoked::{REVOKES_MAX, Revoked};

use super::message::{BUCKETS, Compare, Message, NodeId, PAGE, Revokes};
use super::random;

/// Seconds before its end in which an id is neither compared nor told.
const MARGIN: f64 = 60.0;

/// The digest of each of [`BUCKETS`] buckets. `now` is wall clock, in seconds, here and below.
pub fn buckets(revoked: &Revoked, now: f64) -> Vec<u64> {
    let mut digests = vec![0_u64; BUCKETS];
    for (id, _) in told(revoked, now) {
        let hash = hash(id);
        digests[bucket(hash)] = digests[bucket(hash)].wrapping_add(hash);
    }
    digests
}

/// The digest of all of them; 0 when there are no revokes.
pub fn digest(buckets: &[u64]) -> u64 {
    buckets.iter().fold(0, |sum, digest| sum.wrapping_add(*digest))
}

/// The answer to a worker that compares: all ids of the buckets that differ, in one page at least.
pub fn answer(compare: &Compare, revoked: &Revoked, strangers: bool, clock: u64, now: f64) -> Vec<Message> {
    let ours = buckets(revoked, now);
    let differs = |bucket: &usize| ours.get(*bucket) != compare.buckets.get(*bucket);
    let buckets: Vec<usize> = (0..BUCKETS).filter(differs).collect();
    let ids = told(revoked, now).filter(|(id, _)| buckets.contains(&bucket(hash(id))));
    let mut pages = pages(ids);
    if pages.is_empty() {
        pages.push(Vec::new());
    }
    let count = pages.len();
    let page = |(index, ids)| {
        let last = index + 1 == count;
        Message::Revokes(Revokes { buckets: buckets.clone(), ids, last, strangers, clock })
    };
    pages.into_iter().enumerate().map(page).collect()
}

/// Adds what another worker tells; returns what was new.
pub fn merge(ids: &[(String, f64)], revoked: &mut Revoked, now: f64) -> Vec<(String, f64)> {
    ids.iter().filter(|(id, age)| revoked.add_aged(id, *age, now)).cloned().collect()
}

/// A comparison of our revokes with another worker's, from our question to the last page of its answer.
#[derive(Debug)]
pub struct Exchange {
    /// The buckets that the pages told of so far have.
    buckets: HashSet<usize>,
    /// Our ids of these that no page held: bounded by what is known here, whatever is told.
    untold: HashSet<String>,
}

impl Exchange {
    /// The comparison, and the question by which it begins. `starts`: nobody of this worker's has been answered yet.
    pub fn begin(node: NodeId, starts: bool, revoked: &Revoked, clock: u64, now: f64) -> (Self, Message) {
        let compare = Compare { node, starts, buckets: buckets(revoked, now), clock };
        (Exchange { buckets: HashSet::new(), untold: HashSet::new() }, Message::Compare(compare))
    }

    /// Adds a page's ids to ours. At the last page the comparison is over: then returns what tells the other worker of
    /// what it does not know, the newest first.
    pub fn on_page(&mut self, page: &Revokes, revoked: &mut Revoked, now: f64) -> Option<Vec<Message>> {
        let is_new = |bucket: &&usize| **bucket < BUCKETS && !self.buckets.contains(bucket);
        let buckets: HashSet<usize> = page.buckets.iter().filter(is_new).copied().collect();
        if !buckets.is_empty() {
            let ids = told(revoked, now).filter(|(id, _)| buckets.contains(&bucket(hash(id))));
            let room = REVOKES_MAX.saturating_sub(self.untold.len());
            self.untold.extend(ids.take(room).map(|(id, _)| id.to_owned()));
            self.buckets.extend(buckets);
        }
        for (id, _) in &page.ids {
            self.untold.remove(id);
        }
        merge(&page.ids, revoked, now);
        page.last.then(|| {
            let untold = std::mem::take(&mut self.untold);
            tell(told(revoked, now).filter(|(id, _)| untold.contains(*id)))
        })
    }
}

/// The ids that are told and their ages, the newest first.
fn told(revoked: &Revoked, now: f64) -> impl Iterator<Item = (&str, f64)> {
    revoked.iter().rev().filter_map(move |(id, stamp)| Some((id, age(stamp, revoked, now)?)))
}

/// The age of an id that is not about to expire; 0 when our clock was set back.
fn age(stamp: f64, revoked: &Revoked, now: f64) -> Option<f64> {
    let age = (now - stamp).max(0.0);
    (age + MARGIN < revoked.expires()).then_some(age)
}

fn tell<'a>(ids: impl Iterator<Item = (&'a str, f64)>) -> Vec<Message> {
    pages(ids).into_iter().map(|ids| Message::Delta { ids }).collect()
}

fn pages<'a>(ids: impl Iterator<Item = (&'a str, f64)>) -> Vec<Vec<(String, f64)>> {
    let mut ids = ids.map(|(id, age)| (id.to_owned(), age)).peekable();
    let mut pages = Vec::new();
    while ids.peek().is_some() {
        pages.push(ids.by_ref().take(PAGE).collect());
    }
    pages
}

fn bucket(hash: u64) -> usize {
    (hash % BUCKETS as u64) as usize
}

fn hash(id: &str) -> u64 {
    random::hash(id.bytes())
}
