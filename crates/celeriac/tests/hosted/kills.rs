//! SIGKILL of anybody at any time, under tasks that are acknowledged late: all are done, and nobody is left behind.

use std::time::{SystemTime, UNIX_EPOCH};

use celeriac_testkit::{Marked, Process, Signal, eventually};

use super::{DEADLINE, Kind, MARK, Site, end};

const TASKS: u64 = 1000;
/// As many tasks are done between two kills.
const APART: u64 = 40;
const WORDS: [&str; 4] = ["-c", "4", "-n", "w1@test"];

/// Whom to kill.
#[derive(Debug)]
enum Victim {
    Child,
    Zygote,
    Parent,
}

/// Splitmix: the same seed kills the same.
struct Dice(u64);

impl Dice {
    /// `CELERIAC_TEST_SEED`, or another one each time.
    fn new() -> Self {
        let given = std::env::var("CELERIAC_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        Dice(given.unwrap_or_else(now))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % bound
    }

    fn victim(&mut self) -> Victim {
        match self.below(6) {
            0 => Victim::Parent,
            1 => Victim::Zygote,
            _ => Victim::Child,
        }
    }

    fn pick(&mut self, from: &[Marked]) -> Option<Marked> {
        let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
        from.get(usize::try_from(self.below(count)).ok()?).copied()
    }
}

/// The processes of a site's worker that are children of `parent`.
fn children(site: &Site, parent: u32) -> Vec<Marked> {
    let all = Marked::find(MARK, site.vhost.name());
    all.into_iter().filter(|process| process.parent == parent).collect()
}

fn nobody_is_left(site: &Site) {
    eventually(DEADLINE, "the end of all its processes", || {
        Marked::find(MARK, site.vhost.name()).is_empty().then_some(())
    });
}

/// How many tasks are done.
fn done(site: &Site) -> u64 {
    site.redis(&["SCARD", "done"]).trim().parse().unwrap()
}

/// Kills one of the victim's kind; the worker that runs then.
fn strike(site: &Site, dice: &mut Dice, worker: Process) -> Process {
    let victim = dice.victim();
    eprintln!("{victim:?} dies after {} tasks", done(site));
    if let Victim::Parent = victim {
        worker.signal(Signal::KILL);
        worker.wait(DEADLINE);
        nobody_is_left(site);
        return site.worker(Kind::Celeriac, &WORDS);
    }
    let prey = eventually(DEADLINE, "somebody to kill", || {
        let zygote = dice.pick(&children(site, worker.id()))?;
        match victim {
            Victim::Child => dice.pick(&children(site, zygote.id)),
            _ => Some(zygote),
        }
    });
    prey.kill();
    worker
}

#[test]
fn all_tasks_are_done_whoever_dies() {
    let site = Site::new("", "steady");
    let mut dice = Dice::new();
    eprintln!("CELERIAC_TEST_SEED={}", dice.0);
    site.python(&["steady.py", &TASKS.to_string()]);
    let mut worker = site.worker(Kind::Celeriac, &WORDS);
    let mut next = APART;
    while next < TASKS {
        eventually(DEADLINE, "more tasks done", || (done(&site) >= next).then_some(()));
        worker = strike(&site, &mut dice, worker);
        next += APART;
    }
    eventually(DEADLINE, "all tasks done", || (done(&site) == TASKS).then_some(()));
    let queue = || site.vhost.queue("celery").filter(|queue| queue.depth == 0);
    eventually(DEADLINE, "an empty queue", || queue().map(drop));
    end(&worker);
    nobody_is_left(&site);
    // Nothing was merely held: with its last consumer gone, the broker would have it again.
    assert_eq!(site.vhost.queue("celery").map(|queue| queue.depth), Some(0));
}
