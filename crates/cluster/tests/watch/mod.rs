//! Watch gossip in virtual time: whole clusters over a simulated broker, by seeds.
//!
//! A run is named by its seed. `CELERIAC_SIM_SEED=17` runs that one only, `CELERIAC_SIM_RUNS=10000` that many of each
//! scenario that is drawn, `CELERIAC_SIM_TRACE=1` prints what everybody does.

mod acts;
mod basic;
mod checks;
mod cluster;
mod cost;
mod elections;
mod failover;
mod faults;
mod hostile;
mod large;
mod life;
mod mixed;
mod network;
mod process;
mod python;
mod random;
mod reign;
mod revokes;
mod runs;
mod sim;
mod stalls;
mod storm;
mod told;
mod wire;

use faults::Faults;
use process::Role;
use random::Random;
use runs::{Run, each};
use sim::Sim;
