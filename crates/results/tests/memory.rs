use std::sync::Arc;

use async_trait::async_trait;
use celeriac_results::conformance::{Fixture, Stores};
use celeriac_results::{MemoryStore, Settings};

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn open(&self, settings: Settings) -> Stores {
        let name = celeriac_results::conformance::id();
        let open = || Arc::new(MemoryStore::named(&name, settings.clone()));
        Stores { caller: open(), worker: open() }
    }
}

celeriac_results::suite!(Memory);
