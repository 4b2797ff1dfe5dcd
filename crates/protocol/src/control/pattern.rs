//! The matchers of `kombu/matcher.py`: `glob` is Python's fnmatch, `pcre` its `re.match`.

use regex::{Regex, RegexBuilder};

/// The most bytes of a pattern: a list of many names still fits.
const MAX_PATTERN: usize = 4096;
/// The most bytes of a compiled pattern, which bounds the time to compile and to match as well.
const MAX_COMPILED: usize = 1 << 20;

/// Whether the hostname matches. Look-around and references, which need time without bound, are bad patterns.
pub(super) fn matches(matcher: &str, pattern: &str, hostname: &str) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    let regex = match matcher {
        "glob" => compile(&translate(pattern)),
        "pcre" => compile(pattern),
        _ => None,
    };
    // The leftmost match starts at 0 if any match does.
    regex.and_then(|regex| regex.find(hostname)).is_some_and(|found| found.start() == 0)
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build().ok()
}

/// A shell pattern as a regular expression (`fnmatch.translate`).
fn translate(glob: &str) -> String {
    let mut regex = String::from(r"(?s)\A");
    let mut rest = glob.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' => regex += ".*",
            '?' => regex.push('.'),
            '[' => match class(rest.as_str()) {
                Some((text, after)) => {
                    regex += &text;
                    rest = after.chars();
                }
                None => regex += r"\[",
            },
            other => regex += &escape(other),
        }
    }
    regex + r"\z"
}

/// What follows a `[`, up to its `]`, and the rest; `None` when it is never closed.
fn class(text: &str) -> Option<(String, &str)> {
    let negated = text.starts_with('!');
    let inner = text.strip_prefix('!').unwrap_or(text);
    // A bracket in the first place is a member of the class.
    let first = inner.chars().next()?.len_utf8();
    let end = first + inner.get(first..)?.find(']')?;
    let (members, after) = (inner.get(..end)?, inner.get(end + 1..)?);
    let mut set = String::new();
    let mut rest = members.chars();
    while let Some(low) = rest.next() {
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) => {
                rest = ahead;
                // A range that runs backwards is empty.
                if low <= high {
                    set += &format!("{}-{}", escape(low), escape(high));
                }
            }
            _ => set += &escape(low),
        }
    }
    let regex = match (set.is_empty(), negated) {
        (true, false) => "[a&&b]".to_owned(),
        (true, true) => ".".to_owned(),
        (false, false) => format!("[{set}]"),
        (false, true) => format!("[^{set}]"),
    };
    Some((regex, after))
}

fn escape(character: char) -> String {
    regex::escape(character.encode_utf8(&mut [0; 4]))
}
