use celeriac_protocol::event::Event;
use celeriac_protocol::{Map, Value};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::view::{Action, View};
use crate::control::Reply;

const NOW: f64 = 1_795_228_644.0;

fn event(kind: &'static str, clock: u64, fields: &[(&'static str, Value)]) -> Event {
    Event {
        kind: kind.into(),
        hostname: "w1@here".to_owned(),
        utcoffset: Some(0.0),
        pid: Some(7),
        clock: Some(clock),
        timestamp: NOW,
        fields: fields.iter().cloned().collect(),
    }
}

/// A worker and three tasks, `c` the newest.
fn view() -> View {
    let mut view = View::new("memory://".to_owned(), false);
    let load = vec![Value::Float(0.5), Value::Float(0.25), Value::Float(1.0)];
    let online = [
        ("freq", Value::Float(2.0)),
        ("active", 3.into()),
        ("processed", 42.into()),
        ("loadavg", load.into()),
    ];
    view.event(event("worker-heartbeat", 1, &online), NOW - 3.0);
    for (clock, id) in [(2, "a"), (3, "b"), (4, "c")] {
        let fields = [("uuid", id.into()), ("name", "tasks.add".into()), ("args", "(1, 2)".into())];
        view.event(event("task-received", clock, &fields), NOW);
    }
    let failed = [
        ("uuid", "a".into()),
        ("exception", "ValueError('no')".into()),
        ("traceback", "line 1\nline 2".into()),
    ];
    view.event(event("task-failed", 5, &failed), NOW);
    view
}

fn press(view: &mut View, keys: &str) -> Option<Action> {
    keys.chars().map(|char| code(view, KeyCode::Char(char))).last().flatten()
}

fn code(view: &mut View, code: KeyCode) -> Option<Action> {
    view.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn picture(view: &mut View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(view, frame, NOW)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn workers_and_tasks_are_shown() {
    let mut view = view();
    let shown = picture(&mut view, 120, 24);
    let line = |word: &str| {
        let line =
            shown.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word} in\n{shown}"));
        line.split(['"', '│', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("online  "), ["w1@here", "online", "3", "42", "0.50", "0.25", "1.00", "0", "s"]);
    assert_eq!(line("FAILURE"), ["a", "tasks.add", "w1@here", "02:37:24", "FAILURE"]);
    assert!(shown.contains("events: 5 tasks:3 workers:1/1"), "{shown}");
    let order: Vec<_> = ["FAILURE", "│c ", "│b "].iter().map(|word| shown.find(word)).collect();
    assert!(order.is_sorted() && order[0].is_some(), "the newest first: {shown}");
}

#[test]
fn a_selection_stays_with_its_task() {
    let mut view = view();
    press(&mut view, "j");
    assert_eq!(view.selected.as_deref(), Some("a"));
    press(&mut view, "j");
    assert_eq!(view.selected.as_deref(), Some("c"));
    view.event(event("task-received", 9, &[("uuid", "d".into())]), NOW);
    assert_eq!(press(&mut view, "c"), Some(Action::Revoke("c".to_owned())));
    press(&mut view, "kkkk");
    assert_eq!(view.selected.as_deref(), Some("d"), "the first");
    code(&mut view, KeyCode::PageDown);
    assert_eq!(view.selected.as_deref(), Some("b"), "the last");
}

#[test]
fn the_selected_task_is_on_the_screen() {
    let mut view = view();
    for clock in 10..200 {
        view.event(event("task-received", clock, &[("uuid", format!("id-{clock}").into())]), NOW);
    }
    for _ in 0..100 {
        code(&mut view, KeyCode::Down);
        let selected = view.selected.clone().unwrap();
        assert!(picture(&mut view, 100, 20).contains(&format!("{selected} ")), "{selected}");
    }
    for _ in 0..100 {
        code(&mut view, KeyCode::Up);
        let selected = view.selected.clone().unwrap();
        assert!(picture(&mut view, 100, 20).contains(&format!("{selected} ")), "{selected}");
    }
}

#[test]
fn details_are_shown_until_a_key() {
    let mut view = view();
    assert_eq!(press(&mut view, "i"), None);
    assert!(view.popup.is_none(), "nothing is selected");
    for (key, words) in [
        ("i", ["Task details for a", "args: (1, 2)"]),
        ("t", ["Task Exception Traceback for a", "line 2"]),
        ("r", ["Task Result for a", "ValueError('no')"]),
    ] {
        view.selected = Some("a".to_owned());
        press(&mut view, key);
        let shown = picture(&mut view, 80, 20);
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
        // Scrolling is no end.
        press(&mut view, "j");
        assert!(view.popup.is_some());
        press(&mut view, "x");
        assert!(view.popup.is_none());
    }
    view.selected = Some("b".to_owned());
    press(&mut view, "t");
    assert!(view.popup.is_none(), "it has not failed");
}

#[test]
fn a_long_line_can_be_read_to_its_end() {
    let mut view = view();
    let words: Vec<_> = (0..300).map(|number| format!("word{number}")).collect();
    let result = format!("\u{1f980}{}\u{1f980}", words.join(" "));
    let fields = [("uuid", "a".into()), ("result", result.into())];
    view.event(event("task-succeeded", 9, &fields), NOW);
    view.selected = Some("a".to_owned());
    press(&mut view, "r");
    let mut shown = picture(&mut view, 40, 12);
    assert!(shown.contains("word0 ") && !shown.contains("word299"), "{shown}");
    for _ in 0..100 {
        code(&mut view, KeyCode::PageDown);
        shown = picture(&mut view, 40, 12);
    }
    assert!(shown.contains("99\u{1f980}"), "{shown}");
    let full = shown.lines().filter(|line| line.contains("word")).count();
    assert!(full >= 9, "the last lines fill the screen: {shown}");
    press(&mut view, "k");
    assert_ne!(picture(&mut view, 40, 12), shown, "back at once");
    // A larger screen needs less scrolling.
    assert!(picture(&mut view, 200, 100).contains("word0 "));
}

#[test]
fn a_rate_limit_is_typed() {
    let mut view = view();
    press(&mut view, "l");
    assert_eq!(view.input, None, "nothing is selected");
    press(&mut view, "jl1x");
    code(&mut view, KeyCode::Backspace);
    assert_eq!(press(&mut view, "0/mq"), None, "q is a letter here");
    code(&mut view, KeyCode::Backspace);
    assert!(picture(&mut view, 80, 20).contains("New rate limit: 10/m_"));
    let limit = Action::RateLimit("tasks.add".to_owned(), "10/m".to_owned());
    assert_eq!(code(&mut view, KeyCode::Enter), Some(limit));
    press(&mut view, "l1");
    code(&mut view, KeyCode::Esc);
    assert_eq!(view.input, None);
    assert_eq!(press(&mut view, "q"), Some(Action::Quit));
    press(&mut view, "l");
    press(&mut view, &"1".repeat(1000));
    assert!(view.input.as_ref().unwrap().len() < 100);
    assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Action::Quit));
}

#[test]
fn replies_and_losses_are_told() {
    let mut view = view();
    view.lost(&celeriac_broker::Error::Lost("gone".to_owned()));
    assert!(picture(&mut view, 80, 20).contains("connection to broker lost: gone"));
    view.connected();
    assert!(!picture(&mut view, 80, 20).contains("lost"));
    let ok: Map = [("ok", Value::from("new rate limit"))].into_iter().collect();
    for (replies, word) in [
        (Ok(vec![Reply { node: "w1@here".to_owned(), value: ok.into() }]), "w1@here: new rate limit"),
        (Ok(vec![]), "No replies received"),
        (Err("no broker".to_owned()), "no broker"),
    ] {
        view.replies(replies);
        assert!(picture(&mut view, 80, 20).contains(word), "{word}");
    }
}

#[test]
fn no_size_and_no_name_is_too_much() {
    let mut view = view();
    let long = "\u{1f980}\x1b[2J\n".repeat(100);
    let fields =
        [("uuid", long.as_str().into()), ("name", long.as_str().into()), ("args", long.as_str().into())];
    view.event(event("task-received", 99, &fields), f64::MAX);
    for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 24), (500, 3), (2, 200)] {
        view.popup = None;
        picture(&mut view, width, height);
        press(&mut view, "ji");
        assert!(!picture(&mut view, width, height).contains('\x1b'));
    }
}
