//! The licences of what we link, against the list in `deny.toml`.

use super::graph::Graph;

/// A line for each package whose licence is not in the list `allow` of `deny.toml`.
pub fn check(graph: &Graph, deny: &str) -> Vec<String> {
    let allowed: Vec<&str> = allowed(deny).collect();
    let mut wrong = Vec::new();
    for package in graph.packages.values() {
        let licence = package.licence.as_deref().unwrap_or_default();
        if !permits(licence, &allowed) {
            wrong.push(format!(
                "{} {}: the licence {licence:?} is not allowed",
                package.name, package.version
            ));
        }
    }
    wrong
}

fn allowed(deny: &str) -> impl Iterator<Item = &str> {
    let list = deny.split("\nallow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2)
}

/// Whether an SPDX expression can be met by the allowed licences; `/` is the old way to write `OR`.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    match words.next() {
        Some("(") => either(words, allowed) & (words.next() == Some(")")),
        Some(licence) => allowed.contains(&licence.replace("+WITH+", " WITH ").as_str()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_the_allowed_licences() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR BSD-1) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR BSD-1) AND BSD-1", "MIT WITH LLVM-exception", "(MIT"]
        {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_list_is_read_from_the_file() {
        assert_eq!(
            allowed("[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\",\n]\n").collect::<Vec<_>>(),
            ["MIT", "ISC"]
        );
    }
}
