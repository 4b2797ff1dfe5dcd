use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::BrokerUrl;
use celeriac_protocol::{State, TaskMeta};
use celeriac_results::conformance::{Fixture, Stores, id};
use celeriac_results::{Error, ResultStore, Settings, SqliteStore};
use celeriac_testkit::TempDir;

struct Sqlite(TempDir);

impl Sqlite {
    fn new() -> Self {
        Sqlite(TempDir::new())
    }
}

fn open(path: &std::path::Path, settings: Settings) -> Result<Arc<SqliteStore>, Error> {
    let url = BrokerUrl::parse(&format!("sqlite:///{}", path.display())).unwrap();
    SqliteStore::open(&url, settings).map(Arc::new)
}

#[async_trait]
impl Fixture for Sqlite {
    async fn open(&self, settings: Settings) -> Stores {
        let path = self.0.path().join(format!("{}.db", id()));
        let open = || open(&path, settings.clone()).unwrap();
        Stores { caller: open(), worker: open() }
    }
}

celeriac_results::suite!(Sqlite::new());

#[tokio::test]
async fn bad_files_are_told_at_once() {
    let folder = TempDir::new();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, vec![b'x'; 10_000]).unwrap();
    for path in [garbage, folder.path().join("no/such/folder.db"), folder.path().to_owned()] {
        let error = open(&path, Settings::default()).err().expect("an error");
        let Error::Unavailable { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains(&*path.to_string_lossy()), "{reason}");
    }
    for url in ["sqlite:", "sqlite::memory:"] {
        let error = celeriac_results::open(url, Settings::default(), None).err();
        assert!(matches!(error, Some(Error::Url { .. })), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn what_has_expired_is_swept_in_batches() {
    let folder = TempDir::new();
    let path = folder.path().join("results.db");
    let rows = || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("SELECT COUNT(*) FROM celeriac_result", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let settings = Settings { expires: Some(Duration::from_millis(1)), ..Settings::default() };
    let short = open(&path, settings).unwrap();
    let ids: Vec<_> = (0..2_500).map(|_| id()).collect();
    let metas: Vec<_> = ids.iter().map(|id| TaskMeta::success(id, 1)).collect();
    futures_util::future::try_join_all(metas.iter().map(|meta| short.store(meta, None))).await.unwrap();
    let stores = Stores { caller: short.clone(), worker: short };
    for id in &ids {
        stores.fetch_until(id, |meta| meta.state == State::Pending).await;
    }
    assert!(rows() >= 1_000);
    stores.close().await;

    let long = open(&path, Settings::default()).unwrap();
    for _ in 0..3 {
        let before = rows();
        long.store(&TaskMeta::success(id(), 1), None).await.unwrap();
        assert!(before <= rows() + 1_000, "a sweep took more than its batch");
    }
    assert_eq!(rows(), 3);
    long.close().await;
}

#[tokio::test]
async fn a_foreign_row_that_is_no_result_is_told() {
    let folder = TempDir::new();
    let path = folder.path().join("results.db");
    let store = open(&path, Settings::default()).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let insert = "INSERT INTO celeriac_result (id, state, meta) VALUES (?1, 'SUCCESS', ?2)";
    connection.execute(insert, ("odd", "not json")).unwrap();
    connection.execute(insert, ("text", r#"{"status": "SUCCESS", "result": 1}"#)).unwrap();
    let invalid = store.wait("odd").await;
    assert!(matches!(invalid, Err(Error::Invalid { .. })), "{invalid:?}");
    assert_eq!(store.wait("text").await.unwrap(), TaskMeta::success("text", 1));
    store.close().await;
}
