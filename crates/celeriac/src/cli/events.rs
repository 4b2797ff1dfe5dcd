//! `events` (`celery/bin/events.py`).

use super::args::Events;
use super::console::Console;
use super::error::Error;
use super::{dump, screen};
use crate::App;

/// Shows events until the user has seen enough.
///
/// # Errors
/// [`Error::Usage`] for what is not built, and for the full-screen view where there is no terminal.
pub(super) async fn run(app: &App, console: Console, options: &Events) -> Result<(), Error> {
    if options.dump {
        return dump::run(app, console).await;
    }
    if options.camera.is_some() {
        return Err(Error::Usage("-c: snapshots by a camera are not built yet; see --dump".to_owned()));
    }
    screen::run(app, console).await
}
