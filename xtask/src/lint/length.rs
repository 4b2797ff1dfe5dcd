//! The length of files, tests apart.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Reviewed above this many lines.
const LONG: usize = 400;
/// Split above this many.
const TOO_LONG: usize = 700;

const FOLDERS: [&str; 6] = ["benches", "crates", "examples", "fuzz", "testkit", "xtask"];

/// What was found.
#[derive(Debug, Default)]
pub struct Lengths {
    pub warnings: Vec<String>,
    pub wrong: Vec<String>,
}

/// Measures every Rust file of the workspace.
pub fn check(root: &Path) -> io::Result<Lengths> {
    let mut lengths = Lengths::default();
    let mut folders: Vec<PathBuf> = FOLDERS.map(|folder| root.join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let lines = code_lines(&fs::read_to_string(&path)?);
                let line =
                    format!("{} has {lines} lines", path.strip_prefix(root).unwrap_or(&path).display());
                if lines > TOO_LONG {
                    lengths.wrong.push(line);
                } else if lines > LONG {
                    lengths.warnings.push(line);
                }
            }
        }
    }
    Ok(lengths)
}

/// The lines before the tests that close a file.
fn code_lines(text: &str) -> usize {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_count_but_their_declaration_does() {
        assert_eq!(code_lines("one\ntwo\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(code_lines("#[cfg(test)]\nmod tests;\nthree\n"), 3);
    }
}
