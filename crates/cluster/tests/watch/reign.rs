use std::collections::HashMap;

use celeriac_cluster::watch::message::{Beat, NodeId};

/// Seconds without a beat after which all take a lead for gone: 1.2 of its intervals, and a moment. One that stands still
/// for so long leads nobody.
const SILENT: f64 = 6.5;

/// Who beats in which term, as all can hear.
#[derive(Debug, Default)]
pub struct Reigns {
    terms: HashMap<u64, Vec<Reign>>,
}

#[derive(Debug)]
struct Reign {
    lead: NodeId,
    first: f64,
    last: f64,
}

impl Reigns {
    pub fn note(&mut self, beat: &Beat, now: f64) {
        let reigns = self.terms.entry(beat.term).or_default();
        // One that was silent for long, and comes back, did not lead meanwhile.
        match reigns.iter_mut().find(|reign| reign.lead == beat.node && now - reign.last < SILENT) {
            Some(reign) => reign.last = now,
            None => reigns.push(Reign { lead: beat.node, first: now, last: now }),
        }
    }

    /// The longest time that two leads shared a term, in seconds.
    pub fn shared(&self) -> f64 {
        let mut longest: f64 = 0.0;
        for reigns in self.terms.values() {
            for (index, one) in reigns.iter().enumerate() {
                for other in reigns[..index].iter().filter(|other| other.lead != one.lead) {
                    longest = longest.max(one.last.min(other.last) - one.first.max(other.first));
                }
            }
        }
        longest
    }
}
