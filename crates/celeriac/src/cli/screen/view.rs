use celeriac_broker::Error;
use celeriac_cluster::state::{State, Task};
use celeriac_protocol::Value;
use celeriac_protocol::event::Event;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::console::clean;
use super::super::pretty;
use super::popup::Popup;
use crate::control::Reply;

/// What the user sees, and what they have chosen.
pub(super) struct View {
    pub broker: String,
    pub colours: bool,
    pub state: State,
    /// The id of the task that is selected. It may be forgotten by now.
    pub selected: Option<String>,
    /// The first task on the screen; set where the screen's height is known.
    pub top: usize,
    /// What lies over the tables until a key is pressed.
    pub popup: Option<Popup>,
    /// A rate limit that is being typed.
    pub input: Option<String>,
    /// Why nothing is heard at the moment.
    pub lost: Option<String>,
}

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Revoke the task of this id.
    Revoke(String),
    /// Limit how often tasks of this name start.
    RateLimit(String, String),
}

/// The longest rate limit that can be typed.
const MAX_INPUT: usize = 32;

impl View {
    pub fn new(broker: String, colours: bool) -> Self {
        View {
            broker,
            colours,
            state: State::default(),
            selected: None,
            top: 0,
            popup: None,
            input: None,
            lost: None,
        }
    }

    /// Takes an event in; one that names no task changes nothing.
    pub fn event(&mut self, event: Event, at: f64) {
        let _ = self.state.event(event, at);
    }

    pub fn connected(&mut self) {
        self.lost = None;
    }

    pub fn lost(&mut self, error: &Error) {
        self.lost = Some(error.to_string());
    }

    /// Shows what the workers answered.
    pub fn replies(&mut self, replies: Result<Vec<Reply>, String>) {
        let lines = match replies {
            Err(error) => vec![error],
            Ok(replies) if replies.is_empty() => vec!["No replies received in 1s deadline.".to_owned()],
            Ok(replies) => replies.iter().map(line).collect(),
        };
        self.popup = Some(Popup::new("Remote Control Command Replies", lines));
    }

    /// The task that is selected, if it is still known.
    pub fn task(&self) -> Option<&Task> {
        self.state.task(self.selected.as_deref()?)
    }

    /// Takes a key in.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'C')).then_some(Action::Quit);
        }
        if let Some(popup) = &mut self.popup {
            if !popup.key(key.code) {
                self.popup = None;
            }
            return None;
        }
        if self.input.is_some() {
            return self.type_key(key.code);
        }
        let code = match key.code {
            KeyCode::Char(char) => KeyCode::Char(char.to_ascii_lowercase()),
            code => code,
        };
        match code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('j') | KeyCode::Down => self.select(1),
            KeyCode::Char('k') | KeyCode::Up => self.select(-1),
            KeyCode::PageDown => self.select(10),
            KeyCode::PageUp => self.select(-10),
            KeyCode::Char('i') | KeyCode::Enter => self.popup = self.task().map(Popup::info),
            KeyCode::Char('t') => self.popup = self.task().and_then(Popup::traceback),
            KeyCode::Char('r') => self.popup = self.task().map(Popup::result),
            KeyCode::Char('c') => return self.task().map(|task| Action::Revoke(task.uuid.to_string())),
            KeyCode::Char('l') => {
                self.input = self.task().and_then(|task| task.name.as_ref()).map(|_| String::new());
            }
            _ => {}
        }
        None
    }

    /// A key of the rate limit that is being typed.
    fn type_key(&mut self, code: KeyCode) -> Option<Action> {
        match (code, &mut self.input) {
            (KeyCode::Char(char), Some(input)) if input.len() < MAX_INPUT => input.push(char),
            (KeyCode::Backspace, Some(input)) => drop(input.pop()),
            (KeyCode::Esc, _) => self.input = None,
            (KeyCode::Enter, _) => {
                let limit = self.input.take().map(|input| input.trim().to_owned());
                let limit = limit.filter(|limit| !limit.is_empty())?;
                let name = self.task()?.name.as_ref()?.to_string();
                return Some(Action::RateLimit(name, limit));
            }
            _ => {}
        }
        None
    }

    /// Moves the selection so many tasks down; it stays with its task when others come.
    fn select(&mut self, step: isize) {
        let tasks = self.state.tasks_by_time();
        let place = match self.place(&tasks) {
            Some(place) => place.saturating_add_signed(step).min(tasks.len().saturating_sub(1)),
            None => 0,
        };
        self.selected = tasks.get(place).map(|task| task.uuid.to_string());
    }

    /// Where the selected task is among all.
    pub fn place(&self, tasks: &[&Task]) -> Option<usize> {
        let selected = self.selected.as_deref()?;
        tasks.iter().position(|task| &*task.uuid == selected)
    }
}

fn line(reply: &Reply) -> String {
    let said = |map: &celeriac_protocol::Map| map.get("ok").or_else(|| map.get("error")).cloned();
    let value = reply.value.as_map().and_then(said).unwrap_or_else(|| Value::clone(&reply.value));
    format!("{}: {}", clean(&reply.node), pretty::text(&value))
}
