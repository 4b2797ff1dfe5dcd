use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::url::UrlError;
use celeriac_broker::{BrokerUrl, Capabilities, Connection, Error, Transport};

use crate::connection::SqliteConnection;

/// A broker in a file.
#[derive(Debug, Clone)]
pub struct SqliteTransport {
    path: PathBuf,
    synchronous: Synchronous,
}

/// What a commit waits for (SQLite's `PRAGMA synchronous`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// The operating system: safe when processes die; a power failure may lose the last commits.
    #[default]
    Normal,
    /// The disk: safe when the power fails, and much slower.
    Full,
}

impl SqliteTransport {
    /// The broker in that file, which is made when it does not exist.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        SqliteTransport { path: path.into(), synchronous: Synchronous::default() }
    }

    /// The same, with another durability.
    pub fn with_synchronous(self, synchronous: Synchronous) -> Self {
        SqliteTransport { synchronous, ..self }
    }

    /// Reads `sqlite:file`, `sqlite:///relative`, `sqlite:////absolute`, also with `sqla+sqlite` as Celery writes
    /// it; `?synchronous=full` is [`Synchronous::Full`].
    ///
    /// # Errors
    /// When it names no file, or a host, or `synchronous` has another value than `normal` and `full`.
    pub fn from_url(url: &BrokerUrl) -> Result<Self, UrlError> {
        let fail = |reason: &str| UrlError { url: url.to_string(), reason: reason.to_owned() };
        if !matches!(url.scheme.as_str(), "sqlite" | "sqla+sqlite" | "sqlalchemy+sqlite") {
            return Err(fail("its scheme is not sqlite"));
        }
        if !url.host.is_empty() {
            return Err(fail(
                "a file has no host: write sqlite:///relative/file or sqlite:////absolute/file",
            ));
        }
        if matches!(url.path.as_str(), "" | ":memory:") {
            return Err(fail("it names no file; memory: is the broker without one"));
        }
        let synchronous = match url.parameter("synchronous").map(str::to_ascii_lowercase).as_deref() {
            None | Some("normal") => Synchronous::Normal,
            Some("full") => Synchronous::Full,
            Some(_) => return Err(fail("synchronous is normal or full")),
        };
        Ok(SqliteTransport::open(&url.path).with_synchronous(synchronous))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn synchronous(&self) -> Synchronous {
        self.synchronous
    }
}

#[async_trait]
impl Transport for SqliteTransport {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn display_url(&self) -> String {
        format!("sqlite:///{}", self.path.display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priorities: true,
            expiry: true,
            dead_letters: true,
            quorum_queues: false,
            streams: false,
            durable: true,
            fanout_queues: true,
            kept_places: false,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        Ok(Arc::new(SqliteConnection::open(self).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        let read = |url: &str| SqliteTransport::from_url(&BrokerUrl::parse(url).unwrap());
        for (url, path) in [
            ("sqlite:jobs.db", "jobs.db"),
            ("sqlite:///jobs.db?synchronous=normal", "jobs.db"),
            ("sqla+sqlite:////var/jobs.db", "/var/jobs.db"),
        ] {
            assert_eq!(read(url).unwrap().path(), Path::new(path), "{url}");
        }
        assert_eq!(read("sqlite:x?synchronous=FULL").unwrap().synchronous(), Synchronous::Full);
        for url in
            ["sqlite:", "sqlite://jobs.db", "sqlite:x?synchronous=off", "amqp:///x", "sqlite:///:memory:"]
        {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
