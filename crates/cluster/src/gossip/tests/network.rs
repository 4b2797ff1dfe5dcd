use std::collections::VecDeque;

use super::peers::{Done, Peer};
use super::*;

/// SplitMix64: a seed names a run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// How messages travel.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// Each sender's reach each receiver in their order, and nothing more is sure.
    Links,
    /// Over one broker: all receivers get all messages in one order.
    Broker,
}

/// What is under way on one path, and whether that is a slow one.
struct Path {
    to: Vec<usize>,
    slow: bool,
    queue: VecDeque<(usize, Event)>,
}

/// Workers, the messages between them, and the election that some are still to be told of.
pub(super) struct Network {
    pub(super) random: Random,
    pub(super) peers: Vec<Peer>,
    pub(super) now: f64,
    /// Seconds from one delivery to the next, at most.
    pub(super) pace: f64,
    /// How many events a worker still publishes before it dies.
    pub(super) lives: Vec<Option<usize>>,
    /// The workers that send heartbeats.
    pub(super) beating: Vec<(String, &'static str)>,
    commands: Vec<usize>,
    order: Order,
    paths: Vec<Path>,
    beat: f64,
}

impl Network {
    pub(super) fn new(mut random: Random, order: Order, peers: Vec<Peer>, candidates: &[usize]) -> Self {
        let count = peers.len();
        let mut path = |to| Path { to, slow: random.chance(25), queue: VecDeque::new() };
        let mut paths: Vec<Path> = (0..count * count).map(|pair| path(vec![pair % count])).collect();
        if order == Order::Broker {
            // Into the broker one path a sender, out of it one a receiver.
            paths = (0..count).map(|_| path(Vec::new())).collect();
            paths.extend((0..count).map(|receiver| path(vec![receiver])));
        }
        Network {
            random,
            lives: vec![None; count],
            beating: Vec::new(),
            peers,
            now: NOW,
            pace: 0.0,
            commands: candidates.to_vec(),
            order,
            paths,
            beat: NOW,
        }
    }

    pub(super) fn is_dead(&self, peer: usize) -> bool {
        self.lives[peer] == Some(0)
    }

    pub(super) fn done(&self) -> Vec<Done> {
        self.peers.iter().map(|peer| peer.done().clone()).collect()
    }

    /// Lets everybody know who sends heartbeats; those of the dead end.
    pub(super) fn heartbeats(&mut self, kind: &'static str) {
        self.beat = self.now;
        for (name, software) in self.beating.clone() {
            for peer in 0..self.peers.len() {
                let events = self.peers[peer].hear(&beat(kind, &name, 0, software), self.now);
                self.publish(peer, events);
            }
        }
    }

    /// Delivers in a random order until nothing is under way.
    pub(super) fn deliver_all(&mut self) {
        while self.step() {
            self.now += self.pace * self.random.below(1000) as f64 / 1000.0;
            if self.now - self.beat >= 1.0 {
                self.heartbeats("worker-heartbeat");
            }
            self.tick();
        }
    }

    /// Lets time pass until the workers want nothing more, at most so many seconds.
    pub(super) fn settle(&mut self, seconds: f64) {
        let end = self.now + seconds;
        while self.now < end {
            self.deliver_all();
            self.now += 0.25;
            if self.now - self.beat >= 1.0 {
                self.heartbeats("worker-heartbeat");
            }
            self.tick();
        }
    }

    fn tick(&mut self) {
        for peer in 0..self.peers.len() {
            if !self.is_dead(peer) {
                let events = self.peers[peer].tick(self.now);
                self.publish(peer, events);
            }
        }
    }

    fn step(&mut self) -> bool {
        let full: Vec<usize> =
            (0..self.paths.len()).filter(|path| !self.paths[*path].queue.is_empty()).collect();
        let choices = self.commands.len() + full.len();
        if choices == 0 {
            return false;
        }
        // A slow path is chosen against the odds only, unless there is nothing else.
        let mut choice = self.random.below(choices);
        for _ in 0..20 {
            if choice < self.commands.len() || !self.paths[full[choice - self.commands.len()]].slow {
                break;
            }
            choice = self.random.below(choices);
        }
        if choice < self.commands.len() {
            let peer = self.commands.swap_remove(choice);
            if !self.is_dead(peer) {
                let events = self.peers[peer].stand(self.now);
                self.publish(peer, events);
            }
            return true;
        }
        let path = &mut self.paths[full[choice - self.commands.len()]];
        let Some((sender, event)) = path.queue.pop_front() else { return true };
        match path.to.first().copied() {
            Some(to) if self.is_dead(to) => {}
            Some(to) => {
                let events = self.peers[to].hear(&event, self.now);
                self.publish(to, events);
            }
            None => {
                let count = self.peers.len();
                self.paths[count..].iter_mut().for_each(|path| path.queue.push_back((sender, event.clone())));
            }
        }
        true
    }

    fn publish(&mut self, sender: usize, events: Vec<Event>) {
        for event in events {
            match &mut self.lives[sender] {
                Some(0) => return,
                Some(lives) => *lives -= 1,
                None => {}
            }
            let count = self.peers.len();
            match self.order {
                Order::Broker => self.paths[sender].queue.push_back((sender, event)),
                Order::Links => {
                    let links = &mut self.paths[sender * count..(sender + 1) * count];
                    links.iter_mut().for_each(|path| path.queue.push_back((sender, event.clone())));
                }
            }
        }
    }
}
