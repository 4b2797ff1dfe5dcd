//! The memory in use (`celery/utils/debug.py`).

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex};

use celeriac_protocol::Value;

use super::arguments::Arguments;
use super::command::CommandError;
use crate::consumer::{Consumer, lock};

/// How many samples are kept.
const KEPT: usize = 1000;
/// How many of them are shown.
const SHOWN: usize = 10;

/// Samples taken so far, the oldest first.
#[derive(Default)]
pub(super) struct Samples(Mutex<VecDeque<String>>);

pub(super) fn memsample(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let Some(rss) = resident() else { return Ok(Value::Null) };
    let mut samples = lock(&consumer.commands.samples.0);
    if samples.len() >= KEPT {
        samples.pop_front();
    }
    samples.push_back(rss.clone());
    Ok(rss.into())
}

/// Shows the samples evenly spread, and forgets them.
pub(super) fn memdump(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let samples = std::mem::take(&mut *lock(&consumer.commands.samples.0));
    let mut text = String::new();
    if !samples.is_empty() {
        text.push_str("- rss (sample):\n");
        let step = (samples.len() / SHOWN).max(1);
        for sample in samples.iter().step_by(step).take(SHOWN) {
            text.push_str(&format!("-    > {sample},\n"));
        }
    }
    text.push_str(&format!("- rss (end): {}.\n", resident().unwrap_or_else(|| "None".to_owned())));
    Ok(text.into())
}

pub(super) fn objgraph(_: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let text = "objgraph does not apply: this worker has no Python objects; memsample shows its memory";
    Err(CommandError::Value(text.to_owned()))
}

/// The memory that the process holds, where the system tells it.
fn resident() -> Option<String> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(human(pages.saturating_mul(rustix::param::page_size() as u64)))
}

/// `59.906MB`: five significant digits.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let Some((size, unit)) = UNITS.iter().find(|(size, _)| bytes >= *size) else {
        return format!("{bytes}b");
    };
    if bytes.is_multiple_of(*size) {
        return format!("{}{unit}", bytes / size);
    }
    let number = bytes as f64 / *size as f64;
    let digits = 4 - number.log10().floor().clamp(0.0, 3.0) as usize;
    let text = format!("{number:.digits$}");
    let text = text.trim_end_matches('0');
    // Python leaves one digit behind the point.
    format!("{text}{}{unit}", if text.ends_with('.') { "0" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_python_writes_them() {
        for (bytes, text) in [
            (0, "0b"),
            (1023, "1023b"),
            (1024, "1KB"),
            (1536, "1.5KB"),
            (62_816_256, "59.906MB"),
            (1 << 30, "1GB"),
            ((1 << 30) - 1, "1024.0MB"),
            (123_456_789_012, "114.98GB"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
