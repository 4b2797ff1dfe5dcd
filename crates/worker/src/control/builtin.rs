//! Celery's commands and our one: what they take, and who answers them. Kinds, aliases and helps are
//! [`commands::COMMANDS`]'s.

use std::sync::Arc;

use celeriac_protocol::Value;
use celeriac_protocol::control::commands;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::Call::{Later, Now};
use super::arguments::Arguments;
use super::command::CommandError;
use super::{cluster, conf, events, inspect, memory, pool, queues, revoke, stats, tasks};
use crate::consumer::Consumer;

/// One of the commands.
pub(super) struct Builtin {
    pub(super) name: &'static str,
    /// The parameters that must be given, in Python's order.
    pub(super) required: &'static [&'static str],
    /// The other parameters; absent where all are taken (`**kwargs`).
    pub(super) optional: Option<&'static [&'static str]>,
    pub(super) call: Call,
}

type Outcome = Result<Value, CommandError>;

/// What carries a command out.
#[derive(Clone, Copy)]
pub(super) enum Call {
    Now(fn(&Arc<Consumer>, Arguments) -> Outcome),
    /// It asks the broker.
    Later(fn(Arc<Consumer>, Arguments) -> BoxFuture<'static, Outcome>),
}

/// The command of a name or an alias.
pub(super) fn find(name: &str) -> Option<&'static Builtin> {
    let command = commands::find(name)?;
    BUILTINS.iter().find(|builtin| builtin.name == command.name)
}

type Names = &'static [&'static str];

/// A command that ignores arguments that it does not know.
const fn open(name: &'static str, required: Names, call: Call) -> Builtin {
    Builtin { name, required, optional: None, call }
}

/// A command that refuses them; it needs none.
const fn closed(name: &'static str, optional: Names, call: Call) -> Builtin {
    Builtin { name, required: &[], optional: Some(optional), call }
}

const BUILTINS: &[Builtin] = &[
    open("active", &[], Now(inspect::active)),
    closed("active_queues", &[], Now(queues::active_queues)),
    open("clock", &[], Now(inspect::clock)),
    open("cluster", &[], Now(cluster::cluster)),
    open("conf", &[], Now(conf::conf)),
    open("hello", &["from_node"], Now(inspect::hello)),
    open("memdump", &[], Now(memory::memdump)),
    open("memsample", &[], Now(memory::memsample)),
    closed("objgraph", &["num", "max_depth", "type"], Now(memory::objgraph)),
    open("ping", &[], Now(inspect::ping)),
    open("query_task", &["ids"], Now(inspect::query_task)),
    open("registered", &[], Now(tasks::registered)),
    closed("report", &[], Now(conf::report)),
    open("reserved", &[], Now(inspect::reserved)),
    open("revoked", &[], Now(revoke::revoked)),
    open("scheduled", &[], Now(inspect::scheduled)),
    open("stats", &[], Now(stats::stats)),
    open(
        "add_consumer",
        &["queue"],
        Later(|consumer, arguments| queues::add_consumer(consumer, arguments).boxed()),
    ),
    closed("autoscale", &["max", "min"], Now(pool::autoscale)),
    open("cancel_consumer", &["queue"], Now(queues::cancel_consumer)),
    closed("disable_events", &[], Now(events::disable_events)),
    open("election", &["id", "topic"], Now(events::election)),
    closed("enable_events", &[], Now(events::enable_events)),
    closed("heartbeat", &[], Later(|consumer, _| events::heartbeat(consumer).boxed())),
    open("pool_grow", &[], Now(pool::pool_grow)),
    open("pool_restart", &[], Now(pool::pool_restart)),
    open("pool_shrink", &[], Now(pool::pool_shrink)),
    open("rate_limit", &["task_name", "rate_limit"], Now(tasks::rate_limit)),
    open("revoke", &["task_id"], Now(revoke::revoke)),
    open("revoke_by_stamped_headers", &["headers"], Now(revoke::revoke_by_stamped_headers)),
    open("shutdown", &[], Now(pool::shutdown)),
    open("terminate", &["signal", "task_id"], Now(revoke::terminate)),
    open("time_limit", &[], Now(tasks::time_limit)),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use celeriac_protocol::control::commands::COMMANDS;

    use super::*;

    #[test]
    fn every_command_has_a_handler_and_nothing_else_has() {
        let known: BTreeSet<_> = COMMANDS.iter().map(|command| command.name).collect();
        let built: BTreeSet<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
        assert_eq!(known, built);
        assert_eq!(built.len(), BUILTINS.len(), "one is there twice");
        for command in COMMANDS {
            for name in command.alias.iter().chain([&command.name]) {
                assert_eq!(find(name).map(|builtin| builtin.name), Some(command.name), "{name}");
            }
        }
    }

    /// What a client may send by name must be known here (`celery/worker/control.py`).
    #[test]
    fn the_parameters_are_those_that_clients_send() {
        for command in COMMANDS {
            let builtin = find(command.name).unwrap();
            let sent = command.args.iter().map(|(name, _)| *name).chain(command.variadic);
            for name in sent {
                let known = |optional: Names| optional.contains(&name) || builtin.required.contains(&name);
                assert!(builtin.optional.is_none_or(known), "{}: {name}", command.name);
            }
        }
    }
}
