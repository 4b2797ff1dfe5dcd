use celeriac_cluster::state::{Task, Worker};
use celeriac_protocol::State as TaskState;
use chrono::DateTime;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table};

use super::super::console::clean;
use super::super::pretty;
use super::popup::Popup;
use super::view::View;

const KEYS: &str = "j:down k:up i:info t:traceback r:result c:revoke l:rate limit q:quit";
/// A table's frame and heading.
const MARGIN: u16 = 3;

/// Draws a picture of what is known at `now`, in seconds since 1970.
pub(super) fn draw(view: &mut View, frame: &mut Frame, now: f64) {
    let mut workers: Vec<_> = view.state.workers().collect();
    workers.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    let height = u16::try_from(workers.len()).unwrap_or(u16::MAX).saturating_add(MARGIN);
    let most = (frame.area().height / 3).max(MARGIN + 1);
    let [title, top, middle, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height.clamp(MARGIN + 1, most)),
        Constraint::Min(MARGIN + 1),
        Constraint::Length(4),
    ])
    .areas(frame.area());
    let heading = format!(" celeriac events {}  {}", env!("CARGO_PKG_VERSION"), view.broker);
    frame.render_widget(Line::styled(heading, Modifier::DIM), title);
    draw_workers(view, &workers, frame, top, now);
    draw_tasks(view, frame, middle);
    draw_footer(view, frame, bottom, now);
    if let Some(popup) = &mut view.popup {
        draw_popup(popup, frame);
    }
}

fn draw_workers(view: &View, workers: &[&Worker], frame: &mut Frame, area: Rect, now: f64) {
    let shown = usize::from(area.height.saturating_sub(MARGIN));
    let rows = workers.iter().take(shown).map(|worker| {
        let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
        let alive = worker.alive(now);
        let load = worker.loadavg.map(|load| load.map(|load| format!("{load:.2}")).join(" "));
        let age = worker.heartbeats.last().map(|last| format!("{:.0} s", (now - last).max(0.0)));
        let (word, colour) = if alive { ("online", Color::Green) } else { ("offline", Color::Red) };
        let cells = [
            clean(&worker.hostname).into_owned(),
            word.to_owned(),
            count(worker.active),
            count(worker.processed),
            load.unwrap_or_default(),
            age.unwrap_or_default(),
        ];
        Row::new(cells).style(if alive { Style::new() } else { colored(view, colour) })
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(18),
        Constraint::Length(9),
    ];
    let heading = Row::new(["WORKER", "STATUS", "ACTIVE", "PROCESSED", "LOAD", "HEARTBEAT"]);
    let online = workers.iter().filter(|worker| worker.alive(now)).count();
    let block = Block::bordered().title(format!(" Workers {online}/{} ", workers.len()));
    frame.render_widget(Table::new(rows, widths).header(heading.style(Modifier::BOLD)).block(block), area);
}

fn draw_tasks(view: &mut View, frame: &mut Frame, area: Rect) {
    let shown = usize::from(area.height.saturating_sub(MARGIN)).max(1);
    let tasks = view.state.tasks_by_time();
    let place = view.place(&tasks);
    let last = tasks.len().saturating_sub(shown);
    // The selected task stays on the screen; without one the newest are shown.
    let top = match place {
        Some(place) => view.top.clamp((place + 1).saturating_sub(shown), place).min(last),
        None => 0,
    };
    let rows = tasks.iter().enumerate().skip(top).take(shown).map(|(index, task)| {
        let style = match &task.state {
            TaskState::Success => colored(view, Color::Green),
            TaskState::Started => colored(view, Color::Cyan),
            state if state.is_exception() || *state == TaskState::Rejected => colored(view, Color::Red),
            _ => Style::new(),
        };
        let style = if Some(index) == place { style.add_modifier(Modifier::REVERSED) } else { style };
        let text = |text: Option<&str>| clean(text.unwrap_or("*NONE*")).into_owned();
        Row::new([
            text(Some(&task.uuid)),
            text(task.name.as_deref()),
            text(task.worker.as_deref()),
            task.timestamp.map(clock).unwrap_or_default(),
            clean(task.state.name()).into_owned(),
            task.runtime.map(|runtime| format!("{runtime:.2}")).unwrap_or_default(),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Max(36),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let heading = Row::new(["UUID", "TASK", "WORKER", "TIME", "STATE", "RUNTIME"]);
    let block = Block::bordered().title(format!(" Tasks {} ", tasks.len()));
    frame.render_widget(Table::new(rows, widths).header(heading.style(Modifier::BOLD)).block(block), area);
    view.top = top;
}

fn draw_footer(view: &View, frame: &mut Frame, area: Rect, now: f64) {
    let selected = match (view.task(), &view.selected) {
        (Some(task), _) => format!("Selected: {}", summary(task)),
        (None, Some(_)) => "Selected: Missing extended info".to_owned(),
        (None, None) => "No task selected".to_owned(),
    };
    let online: Vec<_> =
        view.state.alive_workers(now).map(|worker| clean(&worker.hostname)).take(100).collect();
    let online = match online.is_empty() {
        true => "No workers discovered.".to_owned(),
        false => format!("Workers online: {}", online.join(", ")),
    };
    let (alive, all) = (view.state.alive_workers(now).count(), view.state.workers().len());
    let (events, tasks) = (view.state.event_count(), view.state.task_count());
    let info = match &view.lost {
        Some(error) => Line::styled(clean(error).into_owned(), colored(view, Color::Red)),
        None => Line::raw(format!("Info: events: {events} tasks:{tasks} workers:{alive}/{all}")),
    };
    let keys = match &view.input {
        Some(input) => Line::styled(format!("New rate limit: {input}_"), Modifier::BOLD),
        None => Line::styled(format!("Keys: {KEYS}"), Modifier::DIM),
    };
    let lines = vec![Line::raw(selected), Line::raw(online), info, keys];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_popup(popup: &mut Popup, frame: &mut Frame) {
    let block =
        Block::bordered().title(format!(" {} ", popup.title)).title_bottom(" Press any key to continue... ");
    let area = frame.area();
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(popup.lines(inner.width, inner.height)), inner);
}

/// What is known of a task, in a line.
fn summary(task: &Task) -> String {
    let words =
        task.info().iter().map(|(key, value)| format!("{key}={}", pretty::text(value))).collect::<Vec<_>>();
    words.join(" ").replace('\n', " ")
}

fn colored(view: &View, colour: Color) -> Style {
    if view.colours { Style::new().fg(colour) } else { Style::new() }
}

/// The time of day, in UTC as Celery shows it.
fn clock(timestamp: f64) -> String {
    let time = DateTime::from_timestamp(timestamp as i64, 0);
    time.map(|time| time.format("%H:%M:%S").to_string()).unwrap_or_default()
}
