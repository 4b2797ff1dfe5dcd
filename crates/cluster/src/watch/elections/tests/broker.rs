use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::peers::{Peer, Said};

/// SplitMix64: a seed names a run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// When a message comes, in which order, to whom if it has left the broker, and which.
type UnderWay = (u64, usize, Option<usize>, usize);

/// What happens in a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A worker is asked to stand.
    Stand(usize),
    /// A worker dies.
    Kill(usize),
    /// All that live hear that another leads.
    Follow(u32),
}

/// Workers at one broker. Each sender's messages reach it in their order, and each receiver gets them in the broker's.
pub(super) struct Broker {
    pub(super) random: Random,
    pub(super) peers: Vec<Peer>,
    /// Milliseconds.
    now: u64,
    /// The most that a message takes on each half of its way.
    delay: u64,
    /// How many messages were received by anybody.
    pub(super) received: usize,
    said: Vec<Said>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    in_at: Vec<u64>,
    out_at: Vec<u64>,
    dead: Vec<bool>,
    count: usize,
}

impl Broker {
    pub(super) fn new(seed: u64, delay: u64, peers: Vec<Peer>) -> Self {
        let size = peers.len();
        Broker {
            random: Random(seed),
            peers,
            now: 0,
            delay,
            received: 0,
            said: Vec::new(),
            under_way: BinaryHeap::new(),
            in_at: vec![0; size],
            out_at: vec![0; size],
            dead: vec![false; size],
            count: 0,
        }
    }

    /// Carries a plan out, delivers and ticks, each in its millisecond, until there is nothing more to do in time.
    pub(super) fn run(&mut self, until: u64, plan: &[(u64, Step)]) {
        while self.now < until {
            for (_, step) in plan.iter().filter(|(at, _)| *at == self.now).copied().collect::<Vec<_>>() {
                self.carry_out(step);
            }
            while let Some(Reverse((_, _, to, what))) = self.next() {
                self.deliver(to, what);
            }
            let now = self.seconds();
            for peer in self.living() {
                let said = self.peers[peer].tick(now);
                self.publish(peer, said);
            }
            let plan = plan.iter().map(|(at, _)| *at).filter(|at| *at > self.now);
            let ticks = self.living().into_iter().filter_map(|peer| self.peers[peer].next_timeout());
            let next = plan.chain(ticks.map(|at| (at * 1000.0).ceil() as u64)).min().unwrap_or(until);
            let delivery = self.under_way.peek().map_or(until, |Reverse((at, ..))| *at);
            self.now = next.min(delivery).max(self.now + 1);
        }
    }

    fn carry_out(&mut self, step: Step) {
        let now = self.seconds();
        match step {
            Step::Kill(peer) => self.dead[peer] = true,
            Step::Stand(peer) => {
                let said = self.peers[peer].stand(now);
                self.publish(peer, said);
            }
            Step::Follow(lead) => {
                for peer in self.living() {
                    let said = self.peers[peer].follow(lead, now);
                    self.publish(peer, said);
                }
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|peer| !self.dead[*peer]).collect()
    }

    fn seconds(&self) -> f64 {
        self.now as f64 / 1000.0
    }

    fn next(&mut self) -> Option<Reverse<UnderWay>> {
        let is_due = self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= self.now);
        if is_due { self.under_way.pop() } else { None }
    }

    fn publish(&mut self, peer: usize, said: Vec<Said>) {
        for said in said {
            let at = (self.now + 1 + self.random.below(self.delay)).max(self.in_at[peer]);
            self.in_at[peer] = at;
            self.said.push(said);
            self.push(at, None, self.said.len() - 1);
        }
    }

    fn deliver(&mut self, to: Option<usize>, what: usize) {
        let said = self.said[what].clone();
        if let Some(to) = to.filter(|to| !self.dead[*to]) {
            self.received += 1;
            let now = self.seconds();
            let said = self.peers[to].hear(&said, now);
            return self.publish(to, said);
        }
        for receiver in 0..self.peers.len() {
            let reads = match &said {
                Said::Event(_) => true,
                Said::Message(key, _) => self.peers[receiver].reads(*key),
            };
            if to.is_none() && reads {
                let at = (self.now + 1 + self.random.below(self.delay)).max(self.out_at[receiver]);
                self.out_at[receiver] = at;
                self.push(at, Some(receiver), what);
            }
        }
    }

    fn push(&mut self, at: u64, to: Option<usize>, what: usize) {
        self.count += 1;
        self.under_way.push(Reverse((at, self.count, to, what)));
    }
}
