use std::collections::HashSet;
use std::sync::Arc;

/// Texts that many tasks repeat (names, nodes, routing keys), each stored once.
#[derive(Debug, Default)]
pub(super) struct Names {
    shared: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Names {
    const SWEEP_AT_LEAST: usize = 1024;

    /// The shared copy of a text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.shared.get(text) {
            return shared.clone();
        }
        if self.shared.len() >= self.sweep_at {
            // Each sweep waits for as many new names as it left, so it costs nothing on average.
            self.shared.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = (2 * self.shared.len()).max(Self::SWEEP_AT_LEAST);
        }
        let name: Arc<str> = text.into();
        self.shared.insert(name.clone());
        name
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }
}
