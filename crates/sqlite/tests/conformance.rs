use std::sync::Arc;

use celeriac_broker::Transport;
use celeriac_broker::conformance::Fixture;
use celeriac_sqlite::SqliteTransport;
use celeriac_testkit::TempDir;

/// A new file.
struct NewFile {
    folder: TempDir,
}

impl Fixture for NewFile {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(SqliteTransport::open(self.folder.path().join("jobs.db")))
    }
}

celeriac_broker::conformance_suite!(NewFile { folder: TempDir::new() });
