//! What workers have logged, Python's and ours: `[2026-11-21 05:14:32,123: INFO/MainProcess] missed heartbeat from w1@bench`.

use std::time::{SystemTime, UNIX_EPOCH};

/// One line.
#[derive(Debug, PartialEq)]
pub struct Line<'a> {
    /// When, in seconds since 1970.
    pub at: f64,
    pub text: &'a str,
}

/// Now, as logs tell it: whole milliseconds.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).floor() / 1e3
}

/// The lines of a log whose times are UTC; those without a time are passed over.
pub fn lines(log: &str) -> impl Iterator<Item = Line<'_>> {
    log.lines().filter_map(|line| {
        let (head, text) = line.strip_prefix('[')?.split_once("] ")?;
        Some(Line { at: time(head.get(..23)?)?, text })
    })
}

/// Reads `2026-11-21 05:14:32,123`.
fn time(text: &str) -> Option<f64> {
    let numbers: Option<Vec<i64>> = text.split(['-', ' ', ':', ',']).map(|part| part.parse().ok()).collect();
    let &[year, month, day, hour, minute, second, milli] = numbers?.as_slice() else { return None };
    // Days since 1970, with years that begin in March so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) as f64 + milli as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::{Line, lines};

    #[test]
    fn times_are_seconds_since_1970() {
        let log = "-- banner\n[1970-01-02 00:00:01,250: INFO/MainProcess] w1 ready.\n\
                   [2026-11-21 05:14:32,123: INFO/MainProcess] x [y] z\n";
        let read: Vec<Line> = lines(log).collect();
        assert_eq!(
            read,
            [Line { at: 86_401.25, text: "w1 ready." }, Line { at: 1_795_238_072.123, text: "x [y] z" }]
        );
    }
}
