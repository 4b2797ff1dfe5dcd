//! Elections among our workers, and among ours and Python's.

use celeriac_testkit::{CeleryWorker, Process, Vhost, eventually, rabbitmq};

use super::{DEADLINE, ours, python, theirs};

const ROUNDS: usize = 20;

/// Has every worker stand for an election whose winner sends a task.
fn elect(vhost: &Vhost, round: usize) {
    python(vhost, &format!("app.control.election('e{round}', 'task', app.tasks['tasks.add'].s({round}, 0))"));
}

fn wins(log: &str, round: usize) -> usize {
    log.matches(&format!("I won the election 'e{round}'")).count()
}

/// Waits until a worker of ours knows who won.
fn wait_for(worker: &Process, round: usize) {
    let id = format!("'e{round}'");
    eventually(DEADLINE, &format!("a decision of {id}"), || {
        let log = worker.log();
        (log.contains(&format!("I won the election {id}")) || log.contains(&format!("elected for {id}")))
            .then_some(())
    });
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
    let vhost = rabbitmq().vhost();
    let names = ["w1", "w2", "w3", "w4"];
    let workers = names.map(|name| ours(&vhost, name, &[]));
    wait_for_all(&workers, &names);
    for round in 0..ROUNDS {
        elect(&vhost, round);
        workers.iter().for_each(|worker| wait_for(worker, round));
        let won: usize = workers.iter().map(|worker| wins(&worker.log(), round)).sum();
        assert_eq!(won, 1, "winners of election {round}");
    }
    let ran = || workers.iter().map(|worker| worker.log().matches(" succeeded in ").count()).sum::<usize>();
    eventually(DEADLINE, "all actions", || (ran() >= ROUNDS).then_some(()));
    assert_eq!(ran(), ROUNDS, "tasks that ran");
}

#[test]
fn with_pythons_candidates_ours_agree_and_none_dies() {
    let vhost = rabbitmq().vhost();
    let python_workers = ["p1", "p2"].map(|name| theirs(&vhost, name, &[]));
    let workers = ["w1", "w2"].map(|name| ours(&vhost, name, &[]));
    wait_for_all(&workers, &["p1", "p2", "w1", "w2"]);
    for worker in &python_workers {
        worker.process().wait_for_line("w2@test joined the party", DEADLINE);
    }
    let (mut by_ours, mut by_python, mut several) = (0, 0, 0);
    for round in 0..ROUNDS {
        elect(&vhost, round);
        workers.iter().for_each(|worker| wait_for(worker, round));
        let ours: usize = workers.iter().map(|worker| wins(&worker.log(), round)).sum();
        let theirs: usize = python_workers.iter().map(|worker| wins(&worker.log(), round)).sum();
        assert!(ours <= 1, "{ours} of ours won election {round}");
        (by_ours, by_python) = (by_ours + ours, by_python + theirs);
        several += usize::from(ours + theirs > 1);
    }
    println!("{ROUNDS} elections: won by ours {by_ours}, by Python's {by_python}, by several {several}");
    python_workers.iter().for_each(is_well);
}

fn is_well(worker: &CeleryWorker) {
    assert_eq!(worker.process().exit_status(), None, "{}", worker.log());
    assert!(!worker.log().contains("IndexError"), "{}", worker.log());
    assert!(!worker.log().contains("Traceback"), "{}", worker.log());
}
