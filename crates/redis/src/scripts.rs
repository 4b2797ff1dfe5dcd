//! The scripts: each does at once what must not be done by halves.

use redis::Script;

use crate::keys::Keys;

/// A script, and the name that Redis knows it by once it has seen it.
#[derive(Debug)]
pub(crate) struct Lua {
    pub code: String,
    pub hash: String,
}

/// All of them, for the keys of one transport.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub air: Lua,
    pub condemn: Lua,
    pub declare: Lua,
    pub doctor: Lua,
    pub give_back: Lua,
    pub leave: Lua,
    pub lock: Lua,
    pub overdue: Lua,
    pub publish: Lua,
    pub pulse: Lua,
    pub queue: Lua,
    pub refresh: Lua,
    pub renew: Lua,
    pub replace: Lua,
    pub turn: Lua,
    pub unlock: Lua,
}

const COMMON: &str = include_str!("lua/common.lua");

impl Scripts {
    /// `full_memory`: what makes room, or moves a message from one key to another, is done even when Redis is full,
    /// which Redis can be told since version 7.
    pub fn new(keys: &Keys, full_memory: bool) -> Self {
        let head = keys.lua() + COMMON;
        let flagged = |flags: &str, code: &str| {
            let code = format!("{flags}{head}{code}");
            let hash = Script::new(&code).get_hash().to_owned();
            Lua { code, hash }
        };
        let script = |code| flagged("", code);
        let always = |code| flagged(if full_memory { "#!lua flags=allow-oom\n" } else { "" }, code);
        Scripts {
            air: always(include_str!("lua/air.lua")),
            condemn: always(include_str!("lua/condemn.lua")),
            declare: always(include_str!("lua/declare.lua")),
            doctor: always(include_str!("lua/doctor.lua")),
            give_back: always(include_str!("lua/give_back.lua")),
            leave: always(include_str!("lua/leave.lua")),
            lock: always(include_str!("lua/lock.lua")),
            overdue: always(include_str!("lua/overdue.lua")),
            publish: script(include_str!("lua/publish.lua")),
            pulse: always(include_str!("lua/pulse.lua")),
            queue: always(include_str!("lua/queue.lua")),
            refresh: always(include_str!("lua/refresh.lua")),
            renew: always(include_str!("lua/renew.lua")),
            replace: script(include_str!("lua/replace.lua")),
            turn: always(include_str!("lua/turn.lua")),
            unlock: always(include_str!("lua/unlock.lua")),
        }
    }
}
