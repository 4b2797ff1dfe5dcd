//! Options of Celery's worker that do nothing here, or not yet: each is told in one line.

use super::args::Worker;
use super::error::Error;

/// What is refused, because to go on without it would mislead.
///
/// # Errors
/// [`Error::Usage`] with the reason.
pub(super) fn refuse(options: &Worker) -> Result<(), Error> {
    let refused = [
        (options.node.detach, "-D: start it by systemd, or by `setsid -f`, with -f and --pidfile"),
        (options.features.beat, "-B: celeriac has no beat yet; run `celery beat` beside it"),
        (options.daemon.uid.is_some(), "--uid: start the worker as that user"),
        (options.daemon.gid.is_some(), "--gid: start the worker in that group"),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, why)) => Err(Error::Usage(why.to_owned())),
        None => Ok(()),
    }
}

/// What is left out, for the log.
pub(super) fn notes(options: &Worker) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pool) = options.pool.pool.as_deref().filter(|pool| *pool != "tokio") {
        notes.push(format!(
            "-P {pool}: native tasks have one pool: async tasks on tokio, blocking tasks on threads"
        ));
    }
    let given = [
        (
            options.pool.max_tasks_per_child.is_some(),
            "--max-tasks-per-child: native tasks have no child processes",
        ),
        (
            options.pool.max_memory_per_child.is_some(),
            "--max-memory-per-child: native tasks have no child processes",
        ),
        (options.queue.include.is_some(), "-I: tasks are compiled in, there is nothing to import"),
    ];
    notes.extend(given.into_iter().filter(|(given, _)| *given).map(|(_, note)| note.to_owned()));
    notes
}
