//! A child of the pool, and what is known of it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::dispatch::Token;
use crate::host::{Child, Running};

/// A child, and who is told its exit code.
pub struct Member {
    pub child: Arc<Child>,
    pub exit: Option<oneshot::Sender<i32>>,
    /// How many jobs it was sent.
    pub sent: u64,
    /// How many have run in it at once.
    pub most: usize,
    /// Remote control or the worker's end has ended what it runs: that it ends is no news.
    pub terminated: bool,
    /// The jobs that it has told it runs, and since when; the others write that on their page.
    told: HashMap<Token, u64>,
}

impl Member {
    pub fn new(child: Arc<Child>, exit: oneshot::Sender<i32>) -> Self {
        Member { child, exit: Some(exit), sent: 0, most: 0, terminated: false, told: HashMap::new() }
    }

    /// It has told that it runs a job.
    pub fn began(&mut self, token: Token, since: u64) {
        self.told.insert(token, since);
        self.most = self.most.max(self.told.len());
    }

    /// A job has ended.
    pub fn answered(&mut self, token: Token) {
        self.told.remove(&token);
    }

    /// The jobs that it runs.
    pub fn running(&self) -> Vec<Running> {
        let on_page = self.child.running().ok().flatten();
        let told = self.told.iter().map(|(token, since)| Running { token: *token, since: *since });
        on_page.into_iter().chain(told).collect()
    }
}
