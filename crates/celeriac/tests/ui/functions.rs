#![allow(unused_imports)]

use celeriac::{Map, Task, Value};

struct Counter;

impl Counter {
    #[celeriac::task]
    fn method(&self) {}
}

#[celeriac::task]
fn generic<T>(value: T) {}

#[celeriac::task]
fn hidden_generic(value: impl Into<String>) {}

#[celeriac::task]
unsafe fn not_safe() {}

#[celeriac::task]
fn borrows(name: &str) {}

#[celeriac::task]
fn borrows_list(names: &[String]) {}

#[celeriac::task]
fn nameless((x, y): (i64, i64)) {}

#[celeriac::task(bind)]
fn bound_to_nothing() {}

#[celeriac::task(bind)]
fn bound_to_a_number(x: i64) {}

#[celeriac::task]
fn not_bound(task: Task, x: i64) {}

#[celeriac::task]
fn late(#[kwargs] more: Map, x: i64) {}

#[celeriac::task]
fn crossed(#[kwargs] more: Map, #[args] rest: Vec<Value>) {}

#[celeriac::task]
fn marked_twice(#[args] #[kwargs] more: Map) {}

#[celeriac::task]
fn unnamed_result() -> impl Into<String> {
    "text"
}

#[celeriac::task]
struct Job;

fn main() {}
