//! Elections among our workers, and among ours and Python's.

use celeriac_testkit::{CeleryWorker, Process, Vhost, eventually, rabbitmq};

use super::{DEADLINE, ours, python, theirs};

const ROUNDS: usize = 20;
/// How many of them may have several winners among Python's candidates: Celery decides after as many acknowledgements
/// as it knows workers, whoever's they are, and so perhaps before it has heard of all candidates.
const SEVERAL: usize = 3;

/// Has every worker stand for an election whose winner sends a task.
pub fn elect(vhost: &Vhost, round: usize) {
    python(vhost, &format!("app.control.election('e{round}', 'task', app.tasks['tasks.add'].s({round}, 0))"));
}

pub fn wins(log: &str, round: usize) -> usize {
    log.matches(&format!("I won the election 'e{round}'")).count()
}

/// Waits until a worker tells who won; both kinds tell it in the same words.
pub fn wait_for(worker: &Process, round: usize) {
    let id = format!("'e{round}'");
    let told = [format!("I won the election {id}"), format!("elected for {id}")];
    eventually(DEADLINE, &format!("a decision of {id}"), || {
        let log = worker.log();
        told.iter().any(|told| log.contains(told)).then_some(())
    });
}

/// How often a task has succeeded.
pub fn ran<'a>(workers: impl IntoIterator<Item = &'a Process>) -> usize {
    workers.into_iter().map(|worker| worker.log().matches(" succeeded in ").count()).sum()
}

/// Waits until each of ours knows all the others by their heartbeats.
fn wait_for_all(workers: &[Process], names: &[&str]) {
    for worker in workers {
        for name in names.iter().filter(|name| !worker.log().contains(&format!("{name}@test ready."))) {
            worker.wait_for_line(&format!("{name}@test joined the party"), DEADLINE);
        }
    }
}

#[test]
fn one_of_four_of_ours_runs_the_action() {
    one_of_four("watch");
}

#[test]
fn one_of_four_with_celerys_gossip_runs_the_action() {
    one_of_four("classic");
}

fn one_of_four(gossip: &str) {
    let vhost = rabbitmq().vhost();
    let names = ["w1", "w2", "w3", "w4"];
    let workers = names.map(|name| ours(&vhost, name, &["--gossip", gossip]));
    wait_for_all(&workers, &names);
    for round in 0..ROUNDS {
        elect(&vhost, round);
        workers.iter().for_each(|worker| wait_for(worker, round));
        let won: usize = workers.iter().map(|worker| wins(&worker.log(), round)).sum();
        assert_eq!(won, 1, "winners of election {round}");
    }
    eventually(DEADLINE, "all actions", || (ran(&workers) >= ROUNDS).then_some(()));
    assert_eq!(ran(&workers), ROUNDS, "tasks that ran");
}

#[test]
fn with_pythons_candidates_ours_agree_and_none_dies() {
    let by_ours = with_pythons_candidates("watch");
    assert_eq!(by_ours, 0, "elections that ours won from Python's");
}

#[test]
fn with_pythons_candidates_ours_with_celerys_gossip_agree_and_none_dies() {
    with_pythons_candidates("classic");
}

/// How many of the elections ours won.
fn with_pythons_candidates(gossip: &str) -> usize {
    let vhost = rabbitmq().vhost();
    let python_workers = ["p1", "p2"].map(|name| theirs(&vhost, name, &[]));
    let workers = ["w1", "w2"].map(|name| ours(&vhost, name, &["--gossip", gossip]));
    wait_for_all(&workers, &["p1", "p2", "w1", "w2"]);
    for worker in &python_workers {
        worker.process().wait_for_line("w2@test joined the party", DEADLINE);
    }
    let all: Vec<_> = workers.iter().chain(python_workers.iter().map(CeleryWorker::process)).collect();
    for round in 0..ROUNDS {
        elect(&vhost, round);
        all.iter().for_each(|worker| wait_for(worker, round));
    }
    let logs: Vec<_> = all.iter().map(|worker| worker.log()).collect();
    let (mut by_ours, mut by_python, mut several) = (0, 0, 0);
    for round in 0..ROUNDS {
        let won: Vec<_> = logs.iter().map(|log| wins(log, round)).collect();
        let (ours, theirs) = (won[0] + won[1], won[2] + won[3]);
        assert!(ours <= 1, "{ours} of ours won election {round}");
        assert!(ours + theirs > 0, "nobody won election {round}");
        (by_ours, by_python) = (by_ours + ours, by_python + theirs);
        several += usize::from(ours + theirs > 1);
    }
    println!("{ROUNDS} elections: won by ours {by_ours}, by Python's {by_python}, by several {several}");
    assert!(several <= SEVERAL, "{several} elections were won by several");
    eventually(DEADLINE, "all actions", || (ran(all.iter().copied()) >= by_ours + by_python).then_some(()));
    assert_eq!(ran(all.iter().copied()), by_ours + by_python, "tasks that ran");
    python_workers.iter().for_each(is_well);
    by_ours
}

fn is_well(worker: &CeleryWorker) {
    assert_eq!(worker.process().exit_status(), None, "{}", worker.log());
    assert!(!worker.log().contains("IndexError"), "{}", worker.log());
    assert!(!worker.log().contains("Traceback"), "{}", worker.log());
}
