use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// The target of errors that are critical: tracing has no such level.
pub const CRITICAL: &str = "celeriac::critical";

/// How grave a line of the log is, by Python's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// 10.
    Debug,
    /// 20.
    Info,
    /// 30.
    Warning,
    /// 40.
    Error,
    /// 50.
    Critical,
}

impl Level {
    /// The level of one of Python's numbers.
    pub fn from_number(number: i64) -> Self {
        match number {
            ..20 => Level::Debug,
            20..30 => Level::Info,
            30..40 => Level::Warning,
            40..50 => Level::Error,
            50.. => Level::Critical,
        }
    }

    /// Python's number.
    pub fn number(self) -> i64 {
        match self {
            Level::Debug => 10,
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
            Level::Critical => 50,
        }
    }

    /// The level of a name, in any case.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARNING" => Level::Warning,
            "ERROR" => Level::Error,
            "CRITICAL" | "FATAL" => Level::Critical,
            _ => return Err("expected DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL".to_owned()),
        })
    }

    /// Python's name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }

    /// The colour of a line of this level (`celery/utils/log.py`, `ColorFormatter`).
    pub fn colour(self) -> Option<&'static str> {
        match self {
            Level::Debug => Some("\x1b[1;34m"),
            Level::Info => None,
            Level::Warning => Some("\x1b[1;33m"),
            Level::Error => Some("\x1b[1;31m"),
            Level::Critical => Some("\x1b[1;35m"),
        }
    }

    /// The level of an event.
    pub fn of(event: &Metadata<'_>) -> Self {
        match *event.level() {
            tracing::Level::ERROR if event.target() == CRITICAL => Level::Critical,
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        }
    }

    /// What tracing lets through for it.
    pub fn filter(self) -> LevelFilter {
        match self {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Error | Level::Critical => LevelFilter::ERROR,
        }
    }
}
