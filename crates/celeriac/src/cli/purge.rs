//! `purge` (`celery/bin/purge.py`), and the same at a worker's start.

use std::collections::BTreeSet;
use std::io::Write;

use super::args::Purge;
use super::console::{Console, plural};
use super::error::Error;
use crate::{App, control};

/// Erases what waits in the queues, once the user has agreed.
pub(super) async fn run(app: &App, console: Console, options: &Purge) -> Result<(), Error> {
    let known = || app.settings().consumed();
    let mut queues: BTreeSet<_> =
        options.queues.clone().map_or_else(known, |queues| queues.0).into_iter().collect();
    for excluded in options.exclude_queues.iter().flat_map(|queues| &queues.0) {
        queues.remove(excluded);
    }
    if queues.is_empty() {
        return Ok(());
    }
    let count = queues.len() as u64;
    if !options.force {
        let names: Vec<_> = queues.iter().map(String::as_str).collect();
        confirm(console, &names)?;
    }
    let connection = app.transport().connect().await?;
    let erased = control::purge(&*connection, &queues).await;
    connection.close().await;
    let (erased, headline) = (erased?, plural(count, "queue"));
    console.say(&match erased {
        0 => format!("No messages purged from {count} {headline}."),
        _ => format!("Purged {erased} {} from {count} known task {headline}.", plural(erased, "message")),
    });
    Ok(())
}

fn confirm(console: Console, queues: &[&str]) -> Result<(), Error> {
    let question = format!(
        "{}:This will remove all tasks from {}: {}.\n         There is no undo for this operation!\n\n\
         (to skip this prompt use the -f option)\nAre you sure you want to delete all tasks? [y/N]: ",
        console.paint("WARNING", "31"),
        plural(queues.len() as u64, "queue"),
        queues.join(", "),
    );
    let mut out = std::io::stdout();
    let _ = out.write_all(question.as_bytes()).and_then(|()| out.flush());
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::system("cannot read the answer", error))?;
    let yes = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
    if yes { Ok(()) } else { Err(Error::Aborted) }
}
