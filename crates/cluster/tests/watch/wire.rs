//! What is said in a run is what is read from the wire.

use celeriac_cluster::watch::message::Message;

use super::{Faults, Role, each};

#[test]
fn all_that_is_said_survives_the_wire() {
    each(10, |run| {
        let mut sim = run.sim(Faults::NONE);
        sim.record = Some(Vec::new());
        sim.start_many(6, "w", Role::Watch);
        sim.start_many(2, "p", Role::Python);
        sim.run(20.0);
        let here = sim.here();
        sim.stand_all(&here[..4], "e", 0.1);
        sim.revoke(here[1], &["a".into(), "b".into()], 3.0);
        sim.crash(sim.lead());
        sim.run(30.0);
        let said = sim.record.take().unwrap_or_default();
        for (_, message) in said {
            match Message::read(&message.to_value()) {
                Ok(read) if read == *message => {}
                wrong => sim.fail(format_args!("{message:?} is read as {wrong:?}")),
            }
        }
        sim
    });
}
