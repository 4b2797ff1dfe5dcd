//! How workers know of each other, without I/O: [`State`](state::State) is what a monitor sees of a cluster, the
//! rest is what a worker does in one.
//!
//! Every part is a state machine: it takes an input and the time, and returns actions for its driver to carry
//! out. Nothing here reads a clock, opens a connection or starts a task.

mod due;
pub mod gossip;
pub mod heart;
pub mod mingle;
pub mod state;
pub mod watch;
