//! The parts of a chord, as they are counted (`celery/backends/redis.py`, `on_chord_part_return`).

use celeriac_protocol::{State, TaskMeta, Value};

/// A task of a chord's header that has ended.
#[derive(Debug, Clone, Copy)]
pub struct ChordPart<'a> {
    /// The id of the header's group, by which the chord is counted.
    pub group: &'a str,
    /// Its place in the header; the end when it has none.
    pub index: Option<i64>,
    /// The task's id.
    pub id: &'a str,
    /// How it ended.
    pub state: &'a State,
    /// What it returned, or the dict of its error.
    pub result: &'a Value,
    /// It may be counted already, since its message came before, or the store did not answer; it counts once.
    pub again: bool,
}

/// The header of a chord, all of whose parts have ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChordHeader {
    /// The parts in their order: id, state and result of each.
    pub parts: Vec<TaskMeta>,
    /// How the results are nested where the header has groups in it, as [`Saved`](crate::Saved) reads it.
    pub saved: Option<Value>,
}
