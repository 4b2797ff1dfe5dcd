//! What a command shows on standard output.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// Standard output, plain or in colours.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// Whether there are colours.
    pub colours: bool,
    /// Whether only what was asked for is shown.
    pub quiet: bool,
}

/// Whether colours are wanted at all.
pub fn colours_allowed(no_color: bool) -> bool {
    !no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Console {
    /// Colours are for terminals that have not said no.
    pub fn new(no_color: bool, quiet: bool) -> Self {
        Console { colours: colours_allowed(no_color) && io::stdout().is_terminal(), quiet }
    }

    /// Writes a line. Whoever has stopped reading is no error.
    pub fn say(self, line: &str) {
        let _ = self.write(line);
    }

    /// Writes a line.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody reads any more.
    pub fn write(self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// The text in a colour (an SGR code), where there are colours.
    pub fn paint(self, text: &str, colour: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text without what would steer a terminal: other people's words, as they may be shown.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let steers = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let shown = text
        .chars()
        .map(|char| if steers(char) { char.escape_default().to_string() } else { char.to_string() });
    Cow::Owned(shown.collect())
}

/// `1 queue`, `2 queues` (`celery/utils/text.py`, `pluralize`).
pub fn plural(count: u64, noun: &str) -> String {
    if count > 1 { format!("{noun}s") } else { noun.to_owned() }
}
