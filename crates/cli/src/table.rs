//! Lines and tables of plain text.

use celeriac::cli::parts::Console;

/// Prints a line; whoever has stopped reading is no error.
pub fn say(line: &str) {
    Console::new(true, false).say(line);
}

/// Prints a table, the first column to the left, numbers to the right; nothing without rows.
pub fn table(head: &[String], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    say(&format!("\n{}", line(head)));
    rows.iter().for_each(|row| say(&line(row)));
}

/// Other people's words, without what would steer a terminal.
pub fn clean(text: &str) -> String {
    let shown = |char: char| match char.is_control() {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    text.chars().map(shown).collect()
}
