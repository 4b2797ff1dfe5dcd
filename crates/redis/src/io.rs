//! The runtime that serves every Redis connection of the process: of a thread of its own, or the program's. A task that
//! holds up the program's own threads keeps no sign of life, renewal or acknowledgement from Redis.

use celeriac_broker::Io;

pub(crate) static IO: Io = Io::new("celeriac-redis", None);

/// Has the current runtime serve all connections, unless something does already. It must not be held up by anything:
/// who is not heard of for 6 s is taken for dead. What was open when it ends is lost.
///
/// # Panics
/// Outside a runtime.
pub fn serve_here() {
    IO.serve_here();
}
