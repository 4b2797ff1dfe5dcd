//! Names of workers, and file names with a worker's name in them (`celery/utils/nodenames.py`).

/// The full name of a worker: `w1@%h` with its letters expanded, `w1` with this host, `@host` with Celery's name.
///
/// # Errors
/// When a letter behind `%` means nothing.
pub(super) fn node_name(text: &str, host: &str) -> Result<String, String> {
    // Without an @, Celery takes the text for the host.
    let (name, at) = text.split_once('@').unwrap_or(("", text));
    let name = if name.is_empty() { "celery" } else { name };
    let at = if at.is_empty() { host } else { at };
    let short = host.split('.').next().unwrap_or(host);
    expand(&format!("{name}@{at}"), host, short, None)
}

/// A file name of a worker: %n is its name, %h its host, %d its domain, %p its full name.
///
/// # Errors
/// When a letter behind `%` means nothing.
pub fn file_name(text: &str, node: &str) -> Result<String, String> {
    let (name, host) = node.split_once('@').unwrap_or(("celery", node));
    expand(text, host, name, Some(node))
}

fn expand(text: &str, host: &str, name: &str, node: Option<&str>) -> Result<String, String> {
    let domain = host.split_once('.').map_or("", |(_, domain)| domain);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let letter = after.chars().next();
        let word = letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        match (letter, node) {
            (Some('h'), _) => out.push_str(host),
            (Some('n'), _) => out.push_str(name),
            (Some('d'), _) => out.push_str(domain),
            (Some('p'), Some(node)) => out.push_str(node),
            // The index of a child process; this is the parent.
            (Some('i'), _) => out.push('0'),
            (Some('I'), _) => {}
            (Some(letter), _) if word => return Err(format!("%{letter} means nothing in {text:?}")),
            _ => out.push('%'),
        }
        rest = letter.filter(|_| word).map_or(after, |letter| after.split_at(letter.len_utf8()).1);
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_expanded() {
        for (text, name) in [
            ("", "celery@box.example.org"),
            ("w1@%h", "w1@box.example.org"),
            ("w1@", "w1@box.example.org"),
            ("w1@%n", "w1@box"),
            ("%n@%d", "box@example.org"),
            ("w1@other", "w1@other"),
            ("other", "celery@other"),
            ("50%@x", "50%@x"),
        ] {
            assert_eq!(node_name(text, "box.example.org").as_deref(), Ok(name), "{text}");
        }
        assert!(node_name("w1@%é", "box").is_err());
        assert!(node_name("w1@%z", "box").unwrap_err().contains("%z"));
    }

    #[test]
    fn file_names_carry_the_workers_name() {
        assert_eq!(file_name("/var/%n-%h%I.%i.log", "w1@box").as_deref(), Ok("/var/w1-box.0.log"));
        assert_eq!(file_name("%p", "w1@box").as_deref(), Ok("w1@box"));
    }
}
