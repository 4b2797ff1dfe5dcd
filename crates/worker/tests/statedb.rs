//! What outlives a restart.

use std::fs;
use std::path::{Path, PathBuf};

use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Body, Map, State, TaskHeaders, TaskMessage, Value};
use celeriac_worker::{Call, Shutdown, WorkerError};
use rusqlite::Connection;
use uuid::Uuid;

use crate::control::client::{Client, rig};
use crate::support::{Rig, eventually, ints};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("celeriac-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A rig on a broker of its own.
fn kept(path: &Path) -> Rig {
    let mut rig = rig();
    rig.settings.statedb = Some(path.to_owned());
    rig
}

async fn revoked(client: &mut Client) -> Vec<String> {
    let revoked = client.ask("revoked", &[]).await;
    revoked.as_list().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

async fn clock(client: &mut Client) -> i64 {
    client.ask("clock", &[]).await.as_map().unwrap().get("clock").unwrap().as_i64().unwrap()
}

/// How often `echo` ran, as `stats` tells it.
async fn runs(client: &mut Client) -> Option<i64> {
    let stats = client.ask("stats", &[]).await;
    stats.as_map()?.get("total")?.as_map()?.get("echo")?.as_i64()
}

#[tokio::test]
async fn revokes_clock_and_counters_outlive_a_restart() {
    let folder = Folder::new();
    let path = folder.file("state");
    let rig = kept(&path);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    client.ask("revoke", &[("task_id", Value::List(vec!["x".into(), "y".into()]))]).await;
    let headers = Map::from_iter([("team", Value::List(vec!["red".into(), 7.into()]))]);
    client.ask("revoke_by_stamped_headers", &[("headers", headers.into())]).await;
    for id in ["a", "b"] {
        rig.send(id, Call::new("echo", ints(&[1]))).await;
        rig.result(id).await;
    }
    for _ in 0..20 {
        client.ask("ping", &[]).await;
    }
    let before = clock(&mut client).await;
    worker.end(Shutdown::Warm).await.unwrap();

    let rig = kept(&path);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(revoked(&mut client).await, ["x", "y"]);
    assert!(clock(&mut client).await > before);
    assert_eq!((runs(&mut client).await, worker.counters.started.value()), (Some(2), 2));
    rig.send("x", Call::new("echo", ints(&[1]))).await;
    let headers = TaskHeaders {
        stamped_headers: Some(vec!["team".to_owned()]),
        stamps: Map::from_iter([("team", Value::List(vec![6.into(), 7.into()]))]),
        ..TaskHeaders::new("echo", "stamped")
    };
    let message = TaskMessage::new(headers, &Body::default(), Serializer::Json, None).unwrap();
    rig.publish(message.into_message()).await;
    assert_eq!(rig.result("x").await.state, State::Revoked);
    assert_eq!(rig.result("stamped").await.state, State::Revoked);
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    rig.result("c").await;
    worker.end(Shutdown::Warm).await.unwrap();

    let rig = kept(&path);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(runs(&mut client).await, Some(3));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_revoke_outlives_a_kill() {
    let folder = Folder::new();
    let rig = kept(&folder.file("state"));
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    client.ask("revoke", &[("task_id", "x".into())]).await;
    // What a kill would leave: the files as they are.
    let left = folder.file("left");
    eventually("the revoke in the file", || async {
        for suffix in ["", "-wal"] {
            let name = |name: &str| folder.file(&format!("{name}{suffix}"));
            if fs::copy(name("state"), name("left")).is_err() {
                let _ = fs::remove_file(name("left"));
            }
        }
        let count = Connection::open(&left).and_then(|file| {
            file.query_row("SELECT count(*) FROM revoked WHERE id = 'x'", [], |row| row.get::<_, u32>(0))
        });
        (count == Ok(1)).then_some(())
    })
    .await;
    let rig = kept(&left);
    let other = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(revoked(&mut client).await, ["x"]);
    other.end(Shutdown::Warm).await.unwrap();
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn revokes_expire_and_are_bounded() {
    let folder = Folder::new();
    let path = folder.file("state");
    let mut rig = kept(&path);
    rig.settings.revokes_max = 3;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b", "c", "d"] {
        client.ask("revoke", &[("task_id", id.into())]).await;
    }
    worker.end(Shutdown::Warm).await.unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute("UPDATE revoked SET stamp = stamp - 10801 WHERE id = 'b'", []).unwrap();
    file.execute("UPDATE revoked SET stamp = stamp + 1e9 WHERE id = 'c'", []).unwrap();
    file.close().unwrap();

    let rig = kept(&path);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let mut known = revoked(&mut client).await;
    known.sort_unstable();
    assert_eq!(known, ["c", "d"]);
    worker.end(Shutdown::Warm).await.unwrap();
    let file = Connection::open(&path).unwrap();
    let newest: f64 = file.query_row("SELECT max(stamp) FROM revoked", [], |row| row.get(0)).unwrap();
    assert!(newest < 5e9, "a stamp of the future is one of now");
    file.execute("UPDATE revoked SET stamp = stamp - 10801", []).unwrap();
    file.close().unwrap();

    let rig = kept(&path);
    let worker = rig.start();
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("c").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

/// Why the worker does not start.
async fn refused(path: &Path) -> String {
    let rig = kept(path);
    let Err(WorkerError::StateDb { path: named, reason }) = rig.start().ended().await else {
        panic!("not refused: {}", path.display())
    };
    assert_eq!(named, path);
    assert!(rig.connection().await.bindings().await.unwrap().len() <= 1, "nothing was started");
    reason
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused_and_left_alone() {
    let folder = Folder::new();
    let text = folder.file("text");
    fs::write(&text, "I am no database at all, but a text that is quite long. ".repeat(20)).unwrap();
    let gdbm = folder.file("gdbm");
    fs::write(&gdbm, [&[0xcf, 0x9a, 0x57, 0x13][..], &[0; 4096]].concat()).unwrap();
    let other = folder.file("other");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (id)").unwrap();
    let python = folder.file("python");
    Connection::open(&python).unwrap().execute_batch("CREATE TABLE Dict (key BLOB, value BLOB)").unwrap();
    let newer = folder.file("newer");
    let pragmas = "PRAGMA application_id = 1667591282; PRAGMA user_version = 9; CREATE TABLE more (id)";
    Connection::open(&newer).unwrap().execute_batch(pragmas).unwrap();
    for (path, reason) in [
        (&text, "no database"),
        (&gdbm, "Python"),
        (&other, "another program"),
        (&python, "Python"),
        (&newer, "version is 9"),
    ] {
        let before = fs::read(path).unwrap();
        let told = refused(path).await;
        assert!(told.contains(reason), "{told}");
        assert_eq!(fs::read(path).unwrap(), before, "{reason}");
    }
    // What Python's `shelve` makes of the name `shelf`.
    fs::write(folder.file("shelf.dat"), "").unwrap();
    let told = refused(&folder.file("shelf")).await;
    assert!(told.contains("Python") && !folder.file("shelf").exists(), "{told}");
    assert!(refused(&folder.file("nowhere/state")).await.contains("does not exist"));
    assert!(refused(&folder.0).await.contains("folder"));
}

#[tokio::test]
async fn a_file_has_one_worker() {
    let folder = Folder::new();
    let path = folder.file("state");
    let rig = kept(&path);
    let worker = rig.start();
    Client::open(&rig).await;
    assert!(refused(&path).await.contains("another process uses it"));
    worker.end(Shutdown::Warm).await.unwrap();
    kept(&path).start().end(Shutdown::Warm).await.unwrap();
}
