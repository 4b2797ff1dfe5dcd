//! `events`: the workers and tasks of a cluster on the whole screen (`celery/events/cursesmon.py`).
//!
//! [`View`] is what is known and chosen: keys, events and replies go in, actions come out. `draw.rs` makes a picture
//! of it. Here is what touches the terminal and the broker.

mod draw;
mod popup;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use celeriac_worker::wall::now;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::view::{Action, View};
use super::console::Console;
use super::error::Error;
use crate::App;
use crate::control::Reply;
use crate::events::Received;

/// Time between two pictures, if there is anything new.
const FRAME: Duration = Duration::from_millis(100);
/// Pictures between two that are drawn in any case, since ages change.
const IDLE_FRAMES: u32 = 10;

/// Shows the cluster until the user leaves.
///
/// # Errors
/// [`Error::Usage`] without a terminal, [`Error::System`] when it fails.
pub(super) async fn run(app: &App, console: Console) -> Result<(), Error> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::Usage("the full-screen view needs a terminal; see --dump".to_owned()));
    }
    // From here on, the terminal is given back also when the program panics.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let _restored = Restored;
    let view = View::new(app.transport().display_url(), console.colours);
    show(app, view, &mut terminal).await
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::system("the terminal", error)
}

async fn show(app: &App, mut view: View, terminal: &mut DefaultTerminal) -> Result<(), Error> {
    let mut receiver = app.events();
    let mut keys = keyboard();
    let mut commands = JoinSet::new();
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let stream = |kind| signal(kind).map_err(|error| Error::system("signals", error));
    let [mut interrupt, mut end, mut hangup, mut quit] = [
        stream(SignalKind::interrupt())?,
        stream(SignalKind::terminate())?,
        stream(SignalKind::hangup())?,
        stream(SignalKind::quit())?,
    ];
    let (mut is_new, mut idle) = (true, 0);
    loop {
        tokio::select! {
            _ = frames.tick() => {
                idle += 1;
                if is_new || idle >= IDLE_FRAMES {
                    (is_new, idle) = (false, 0);
                    terminal.draw(|frame| draw::draw(&mut view, frame, now())).map_err(failed)?;
                }
                continue;
            }
            received = receiver.next() => match received {
                Received::Connected => view.connected(),
                Received::Event { event, at } => view.event(event, at),
                Received::Lost(error) => view.lost(&error),
            },
            key = keys.recv() => match key {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match view.key(key) {
                    Some(Action::Quit) => return Ok(()),
                    Some(action) => drop(commands.spawn(carry_out(app.clone(), action))),
                    None => {}
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(()),
            },
            Some(Ok(replies)) = commands.join_next() => view.replies(replies),
            _ = interrupt.recv() => return Ok(()),
            _ = end.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = quit.recv() => return Ok(()),
        }
        is_new = true;
    }
}

async fn carry_out(app: App, action: Action) -> Result<Vec<Reply>, String> {
    let control = app.control().reply();
    let replies = match action {
        Action::Quit => Ok(Vec::new()),
        Action::Revoke(id) => control.revoke([id]).await,
        Action::RateLimit(task, limit) => control.rate_limit(&task, limit).await,
    };
    replies.map_err(|error| error.to_string())
}

/// Reading the terminal blocks, so a thread does it; it ends soon after nobody listens any more.
fn keyboard() -> mpsc::Receiver<std::io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(FRAME) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
