use celeriac_cluster::state::Task;
use ratatui::crossterm::event::KeyCode;

use super::super::console::clean;
use super::super::pretty;

/// A text over the tables.
pub(super) struct Popup {
    pub title: String,
    pub text: String,
    /// The first line that is shown.
    pub top: u16,
}

impl Popup {
    pub fn new(title: impl Into<String>, lines: Vec<String>) -> Self {
        Popup { title: title.into(), text: lines.join("\n"), top: 0 }
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

    /// Takes a key in; `false` is the end of the popup.
    pub fn key(&mut self, code: KeyCode) -> bool {
        let last = u16::try_from(self.text.lines().count()).unwrap_or(u16::MAX).saturating_sub(1);
        self.top = match code {
            KeyCode::Down | KeyCode::Char('j') => (self.top + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.top.saturating_sub(1),
            KeyCode::PageDown => self.top.saturating_add(10).min(last),
            KeyCode::PageUp => self.top.saturating_sub(10),
            _ => return false,
        };
        true
    }
}
