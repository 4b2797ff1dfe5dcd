//! The commands that every Celery worker answers (`celery/worker/control.py`, the same in 5.6 and 5.7), and one of
//! celeriac's own.

use Kind::{Control, Inspect};
use Type::{Bool, Float, Int, Str};

/// A command: what a client has to know to ask for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Command {
    /// Its name, the `method` of a request.
    pub name: &'static str,
    /// An older name.
    pub alias: Option<&'static str>,
    /// Whether it asks or changes.
    pub kind: Kind,
    /// Positional arguments of the command line, by the keyword under which they are sent.
    pub args: &'static [(&'static str, Type)],
    /// The keyword under which all further arguments are sent, as a list.
    pub variadic: Option<&'static str>,
    /// The arguments as they are shown to a user; empty when there are none.
    pub signature: &'static str,
    /// One line for a user.
    pub help: &'static str,
    /// Whether it is listed.
    pub visible: bool,
    /// Whether celeriac's workers alone know it.
    pub own: bool,
}

/// Whether a command asks or changes: `celery inspect`, `celery control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It asks.
    Inspect,
    /// It changes.
    Control,
}

/// The type of a positional argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Str,
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A boolean by one of Celery's words for it: `true`, `yes`, `on`, `1` and their opposites.
    Bool,
}

/// The command of a name or an alias.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name || command.alias == Some(name))
}

const fn command(kind: Kind, name: &'static str, help: &'static str) -> Command {
    let (alias, args, variadic) = (None, &[], None);
    Command { name, alias, kind, args, variadic, signature: "", help, visible: true, own: false }
}

const fn inspect(name: &'static str, help: &'static str) -> Command {
    command(Inspect, name, help)
}

const fn control(name: &'static str, help: &'static str) -> Command {
    command(Control, name, help)
}

/// All commands, by kind and name.
pub const COMMANDS: &[Command] = &[
    Command { alias: Some("dump_active"), ..inspect("active", "Show the tasks that run now.") },
    inspect("active_queues", "Show the queues that the workers consume from."),
    inspect("clock", "Show the value of the logical clock."),
    Command {
        own: true,
        ..inspect("cluster", "Show who leads the cluster, who watches it, and who is in it.")
    },
    Command {
        alias: Some("dump_conf"),
        args: &[("with_defaults", Bool)],
        signature: "[include_defaults=False]",
        ..inspect("conf", "Show the settings.")
    },
    Command { visible: false, ..inspect("hello", "Exchange clock and revokes, at a worker's start.") },
    Command {
        args: &[("samples", Int)],
        signature: "[n_samples=10]",
        ..inspect("memdump", "Show the memory samples taken so far.")
    },
    inspect("memsample", "Take a sample of the memory in use."),
    Command {
        args: &[("type", Str), ("num", Int), ("max_depth", Int)],
        signature: "[object_type=Request] [num=200 [max_depth=10]]",
        ..inspect("objgraph", "Draw the objects that are not collected.")
    },
    inspect("ping", "See which workers answer."),
    Command {
        variadic: Some("ids"),
        signature: "[id1 [id2 [... [idN]]]]",
        ..inspect("query_task", "Look for tasks by id.")
    },
    Command {
        alias: Some("dump_tasks"),
        variadic: Some("taskinfoitems"),
        signature: "[attr1 [attr2 [... [attrN]]]]",
        ..inspect("registered", "Show the tasks that the workers know.")
    },
    inspect("report", "Show versions and settings, for a bug report."),
    Command {
        alias: Some("dump_reserved"),
        ..inspect("reserved", "Show the tasks that were received and wait to run.")
    },
    Command { alias: Some("dump_revoked"), ..inspect("revoked", "Show the ids of revoked tasks.") },
    Command {
        alias: Some("dump_schedule"),
        ..inspect("scheduled", "Show the tasks that wait for their time.")
    },
    inspect("stats", "Show what the workers are and have done."),
    Command {
        args: &[("queue", Str), ("exchange", Str), ("exchange_type", Str), ("routing_key", Str)],
        signature: "<queue> [exchange [type [routing_key]]]",
        ..control("add_consumer", "Consume from one more queue.")
    },
    Command {
        args: &[("max", Int), ("min", Int)],
        signature: "[max [min]]",
        ..control("autoscale", "Change the limits of autoscaling.")
    },
    Command {
        args: &[("queue", Str)],
        signature: "<queue>",
        ..control("cancel_consumer", "Consume no longer from a queue.")
    },
    control("disable_events", "Send no more events of tasks."),
    control("election", "Hold an election: one worker of all runs the action."),
    control("enable_events", "Send events of tasks."),
    control("heartbeat", "Send a heartbeat now."),
    Command {
        args: &[("n", Int)],
        signature: "[N=1]",
        ..control("pool_grow", "Run N more tasks at a time.")
    },
    control("pool_restart", "Restart the pool."),
    Command {
        args: &[("n", Int)],
        signature: "[N=1]",
        ..control("pool_shrink", "Run N fewer tasks at a time.")
    },
    Command {
        args: &[("task_name", Str), ("rate_limit", Str)],
        signature: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
        ..control("rate_limit", "Change how often tasks of a name may start.")
    },
    Command {
        variadic: Some("task_id"),
        signature: "[id1 [id2 [... [idN]]]]",
        ..control("revoke", "Keep tasks from running, by id.")
    },
    Command {
        variadic: Some("headers"),
        signature: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
        ..control("revoke_by_stamped_headers", "Keep tasks from running, by their stamps.")
    },
    control("shutdown", "Stop the workers, once their tasks have ended."),
    Command {
        args: &[("signal", Str)],
        variadic: Some("task_id"),
        signature: "<signal> [id1 [id2 [... [idN]]]]",
        ..control("terminate", "Revoke tasks by id, and stop those that run.")
    },
    Command {
        args: &[("task_name", Str), ("soft", Float), ("hard", Float)],
        signature: "<task_name> <soft_secs> [hard_secs]",
        ..control("time_limit", "Change how long tasks of a name may run.")
    },
];
