//! Tables, data and the plot.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use celeriac_testkit::workspace_root;

use super::plan::System;
use crate::bench::table::print;
use crate::cargo::run;
use crate::setup::plotter;

/// At rest.
const REST: [&str; 11] = [
    "published/s",
    "delivered/s",
    "connections",
    "channels",
    "queues",
    "broker CPU %",
    "broker MiB",
    "workers CPU %",
    "MiB each",
    "MiB max",
    "PSS each",
];
/// Starts and faults: seconds, and messages of an election.
const FAULTS: [&str; 14] = [
    "ready",
    "equal",
    "start published",
    "start delivered",
    "told p50",
    "told p99",
    "told max",
    "new lead",
    "new roster",
    "watchers told",
    "election published",
    "election delivered",
    "loaded minutes",
    "wrongly lost",
];

/// What one cluster gave.
#[derive(Debug)]
pub struct Row {
    system: System,
    size: usize,
    figures: Vec<(&'static str, f64)>,
}

impl Row {
    pub fn new(system: System, size: usize) -> Self {
        Self { system, size, figures: Vec::new() }
    }

    /// Adds a figure, and says it.
    pub fn put(&mut self, name: &'static str, figure: f64) {
        eprintln!("  {name} {}", shown(figure));
        self.figures.push((name, figure));
    }

    /// Whether it was counted at rest.
    pub fn is_measured(&self) -> bool {
        !self.figure("delivered/s").is_nan()
    }

    fn figure(&self, name: &str) -> f64 {
        self.figures.iter().find(|(known, _)| *known == name).map_or(f64::NAN, |(_, figure)| *figure)
    }
}

/// Two tables: the clusters at rest, and their starts and faults.
pub fn print_all(rows: &[Row]) {
    let head = |columns: &[&'static str]| [&["gossip", "N"], columns].concat();
    let cells = |row: &Row, columns: &[&str]| {
        let figures = columns.iter().map(|name| shown(row.figure(name)));
        [row.system.name().to_owned(), row.size.to_string()].into_iter().chain(figures).collect::<Vec<_>>()
    };
    let rest = rows.iter().map(|row| {
        let mut cells = cells(row, &REST);
        cells.insert(4, less_than_celery(row, rows));
        cells
    });
    let mut columns = head(&REST);
    columns.insert(4, "celery's / this");
    print(&columns, &rest.collect::<Vec<_>>());
    println!();
    print(&head(&FAULTS), &rows.iter().map(|row| cells(row, &FAULTS)).collect::<Vec<_>>());
}

/// How many times as much Celery's workers of this number are sent: measured, or else N²/2.
fn less_than_celery(row: &Row, rows: &[Row]) -> String {
    let same = |other: &&Row| other.system == System::Celery && other.size == row.size && other.is_measured();
    let same = rows.iter().find(same);
    let ours = row.figure("delivered/s");
    match same {
        _ if !row.is_measured() => shown(f64::NAN),
        Some(celery) => format!("{:.1}", celery.figure("delivered/s") / ours),
        None => format!("{:.1} (N²/2)", (row.size * row.size) as f64 / 2.0 / ours),
    }
}

/// Writes the data, and draws it.
///
/// # Errors
/// When there is no place for it, or no matplotlib.
pub fn save(rows: &[Row], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let columns: Vec<&str> = REST.iter().chain(&FAULTS).copied().collect();
    let mut text = format!("gossip,N,{}\n", columns.join(","));
    for row in rows {
        let figures = columns.iter().map(|name| match row.figure(name) {
            figure if figure.is_nan() => String::new(),
            figure => shown(figure),
        });
        let figures: Vec<String> = figures.collect();
        text += &format!("{},{},{}\n", row.system.name(), row.size, figures.join(","));
    }
    let data = folder.join("chatter.csv");
    fs::write(&data, text).with_context(|| data.display().to_string())?;
    let script = workspace_root().join("benches/plot/chatter.py");
    let pictures = ["svg", "png"].map(|kind| folder.join("chatter").with_extension(kind));
    run(Command::new(plotter()?).arg(script).arg(data).args(pictures))
}

/// As few digits as tell something; a dash for what there is not.
fn shown(figure: f64) -> String {
    match figure {
        _ if figure.is_nan() => "-".to_owned(),
        _ if figure.fract() == 0.0 || figure.abs() >= 1000.0 => format!("{figure:.0}"),
        _ if figure.abs() >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
