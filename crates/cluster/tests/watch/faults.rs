use super::Random;

/// What goes wrong with messages, each delivery by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// The chance that a delivery of a cluster message is lost.
    pub loss: f64,
    /// The chance that a delivery of an event is lost.
    pub unheard: f64,
    /// The chance that one comes twice.
    pub duplicates: f64,
    /// The chance that one comes up to half a second late, behind those that were sent after it.
    pub reordered: f64,
    /// Seconds on the way to or from the broker, in the mean.
    pub delay: f64,
    /// The chance of each heartbeat that the process stands still for 2.2 s before it.
    pub stalls: f64,
    /// Seconds until the broker says that it has taken a message, at most.
    pub taken: f64,
}

impl Faults {
    /// A broker as it should be.
    pub const NONE: Faults = Faults {
        loss: 0.0,
        unheard: 0.0,
        duplicates: 0.0,
        reordered: 0.0,
        delay: 0.002,
        stalls: 0.0,
        taken: 0.0,
    };

    /// Nothing is lost, but much is slow, comes twice or out of order.
    pub fn rough(random: &mut Random) -> Self {
        Faults {
            duplicates: drawn(random, 0.05),
            reordered: drawn(random, 0.05),
            delay: random.between(0.001, 0.05),
            ..Faults::NONE
        }
    }

    /// As [`Faults::rough`], and messages are lost.
    pub fn lossy(random: &mut Random) -> Self {
        let loss = random.between(0.01, 0.05);
        let unheard = if random.chance(0.3) { loss } else { 0.0 };
        Faults { loss, unheard, ..Faults::rough(random) }
    }

    /// Seconds on the way to or from the broker.
    pub fn delay(&self, random: &mut Random) -> f64 {
        0.0002 - self.delay * (1.0 - random.unit()).ln()
    }
}

/// Half of the time nothing.
fn drawn(random: &mut Random, most: f64) -> f64 {
    if random.chance(0.5) { random.between(0.0, most) } else { 0.0 }
}
