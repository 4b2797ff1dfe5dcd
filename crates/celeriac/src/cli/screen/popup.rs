use celeriac_cluster::state::Task;
use ratatui::crossterm::event::KeyCode;
use ratatui::text::{Line, Span};

use super::super::console::clean;
use super::super::pretty;

/// A text over the tables.
pub(super) struct Popup {
    pub title: String,
    text: String,
    /// The first line that is shown.
    top: usize,
    /// The largest that makes sense; known where the screen's size is.
    last: usize,
}

impl Popup {
    pub fn new(title: impl Into<String>, lines: Vec<String>) -> Self {
        Popup { title: title.into(), text: lines.join("\n"), top: 0, last: 0 }
    }

    /// All that is known of a task.
    pub fn info(task: &Task) -> Self {
        let text = |text: &str| clean(text).into_owned();
        let mut lines = vec![
            format!("name: {}", text(task.name.as_deref().unwrap_or("?"))),
            format!("state: {}", text(task.state.name())),
        ];
        lines.extend(task.info().iter().map(|(key, value)| format!("{key}: {}", pretty::text(value))));
        Popup::new(format!("Task details for {}", text(&task.uuid)), lines)
    }

    /// The traceback of a task that has failed or is retried.
    pub fn traceback(task: &Task) -> Option<Self> {
        let traceback = task.traceback.as_deref().filter(|_| task.state.is_exception())?;
        let title = format!("Task Exception Traceback for {}", clean(&task.uuid));
        Some(Popup::new(title, vec![clean(traceback).into_owned()]))
    }

    /// What a task returned or raised.
    pub fn result(task: &Task) -> Self {
        let result = task.result.as_deref().or(task.exception.as_deref()).unwrap_or_default();
        let title = format!("Task Result for {}", clean(&task.uuid));
        Popup::new(title, vec![clean(result).into_owned()])
    }

    /// What is to be shown of the text on a screen of this size.
    pub fn lines(&mut self, width: u16, height: u16) -> Vec<Line<'_>> {
        let lines: Vec<_> = self.text.split('\n').flat_map(|line| broken(line, width.into())).collect();
        self.last = lines.len().saturating_sub(height.into());
        self.top = self.top.min(self.last);
        lines.into_iter().skip(self.top).take(height.into()).map(Line::raw).collect()
    }

    /// Takes a key in; `false` is the end of the popup.
    pub fn key(&mut self, code: KeyCode) -> bool {
        self.top = match code {
            KeyCode::Down | KeyCode::Char('j') => self.top + 1,
            KeyCode::Up | KeyCode::Char('k') => self.top.saturating_sub(1),
            KeyCode::PageDown => self.top + 10,
            KeyCode::PageUp => self.top.saturating_sub(10),
            _ => return false,
        }
        .min(self.last);
        true
    }
}

/// A line in pieces that are at most so many columns wide.
fn broken(line: &str, width: usize) -> Vec<&str> {
    let (mut pieces, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, char) in line.char_indices() {
        let columns = Span::raw(char.encode_utf8(&mut [0; 4]) as &str).width();
        if used + columns > width && at > start {
            pieces.push(&line[start..at]);
            (start, used) = (at, 0);
        }
        used += columns;
    }
    pieces.push(&line[start..]);
    pieces
}
