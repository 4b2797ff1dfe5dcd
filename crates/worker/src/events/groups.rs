use std::collections::BTreeSet;

/// The groups of events that are sent: all but some, or some.
pub(super) struct Groups {
    all: bool,
    named: BTreeSet<String>,
}

impl Groups {
    pub(super) fn all() -> Self {
        Groups { all: true, named: BTreeSet::new() }
    }

    pub(super) fn only(group: &str) -> Self {
        Groups { all: false, named: BTreeSet::from([group.to_owned()]) }
    }

    pub(super) fn has(&self, group: &str) -> bool {
        self.all != self.named.contains(group)
    }

    /// Whether that changes anything.
    pub(super) fn switch(&mut self, group: &str, on: bool) -> bool {
        if self.has(group) == on {
            return false;
        }
        if !self.named.remove(group) {
            self.named.insert(group.to_owned());
        }
        true
    }
}
