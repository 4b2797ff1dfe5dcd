//! A broker at several addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use celeriac::connect;
use celeriac_broker::{Capabilities, Connection, Error, Transport};
use celeriac_python::report::Broker;

/// Goes to the next address when one cannot be reached, round and round.
#[derive(Debug)]
struct Failover {
    all: Vec<Arc<dyn Transport>>,
    current: AtomicUsize,
}

/// The transport of a broker; nothing is opened.
///
/// # Errors
/// When one of its URLs names what is not there.
pub fn transport(broker: &Broker) -> Result<Arc<dyn Transport>, celeriac::ConfigError> {
    let mut all = broker.urls().map(connect::transport).collect::<Result<Vec<_>, _>>()?;
    if all.len() == 1 {
        return Ok(all.remove(0));
    }
    Ok(Arc::new(Failover { all, current: AtomicUsize::new(0) }))
}

impl Failover {
    fn current(&self) -> &Arc<dyn Transport> {
        &self.all[self.current.load(Ordering::Relaxed) % self.all.len()]
    }
}

#[async_trait]
impl Transport for Failover {
    fn name(&self) -> &'static str {
        self.current().name()
    }

    fn display_url(&self) -> String {
        self.current().display_url()
    }

    fn capabilities(&self) -> Capabilities {
        self.current().capabilities()
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        let mut tried = 1;
        loop {
            match self.current().connect().await {
                Err(error) if tried < self.all.len() => {
                    tracing::warn!("{}: {error}; trying the next", self.display_url());
                    tried += 1;
                    self.current.fetch_add(1, Ordering::Relaxed);
                }
                // After the last one it begins with the first again.
                Err(error) => {
                    self.current.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
                connected => return connected,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use celeriac_broker::MemoryTransport;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried() {
        let nobody = connect::transport("amqp://127.0.0.1:1//?connection_timeout=100").unwrap();
        let somebody: Arc<dyn Transport> = Arc::new(MemoryTransport::new());
        let both = Failover { all: vec![nobody.clone(), somebody], current: AtomicUsize::new(0) };
        assert!(both.connect().await.is_ok() && both.name() == "memory");
        let none = Failover { all: vec![nobody.clone(), nobody], current: AtomicUsize::new(0) };
        assert!(none.connect().await.is_err());
        assert_eq!(none.current.load(Ordering::Relaxed), 2);
    }
}
