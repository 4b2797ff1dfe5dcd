use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{State, TaskMeta};
use tokio::time::Instant;

use crate::store::stays;
use crate::watchers::{Notice, Watchers};
use crate::{ChordHeader, ChordPart, Error, ReplyTo, ResultStore, Settings};

/// Results in this process's memory, shared by all stores of the same name; for tests and single processes.
pub struct MemoryStore {
    settings: Settings,
    name: String,
    shared: Arc<Shared>,
}

struct Shared {
    results: Mutex<Results>,
    chords: Mutex<HashMap<String, Chord>>,
    watchers: Arc<Watchers>,
}

#[derive(Default)]
struct Results {
    by_id: HashMap<String, Kept>,
    /// What expires, soonest first; the number tells apart what expires together.
    expiring: BTreeMap<(Instant, u64), String>,
    stored: u64,
}

/// What was counted of a chord. One that never ends stays for as long as the store.
#[derive(Default)]
struct Chord {
    /// By place and, where several have the same one, by id.
    parts: BTreeMap<(i64, String), TaskMeta>,
    size: Option<usize>,
}

struct Kept {
    data: Bytes,
    state: State,
    expires: Option<(Instant, u64)>,
}

impl MemoryStore {
    /// A store of its own.
    pub fn new(settings: Settings) -> Self {
        MemoryStore { settings, name: String::new(), shared: Shared::new() }
    }

    /// The store of that name. It is gone when the last of its handles is.
    pub fn named(name: &str, settings: Settings) -> Self {
        static STORES: OnceLock<Mutex<HashMap<String, Weak<Shared>>>> = OnceLock::new();
        let mut stores = STORES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, shared| shared.strong_count() > 0);
        let shared = stores.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let shared = Shared::new();
            stores.insert(name.to_owned(), Arc::downgrade(&shared));
            shared
        });
        MemoryStore { settings, name: name.to_owned(), shared }
    }
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Shared { results: Mutex::default(), chords: Mutex::default(), watchers: Watchers::new() })
    }

    fn chords(&self) -> MutexGuard<'_, HashMap<String, Chord>> {
        self.chords.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The results that have not expired.
    fn live(&self) -> MutexGuard<'_, Results> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some(entry) = results.expiring.first_entry().filter(|entry| entry.key().0 <= now) {
            let id = entry.remove();
            results.by_id.remove(&id);
        }
        results
    }
}

impl Results {
    fn remove(&mut self, id: &str) {
        if let Some(expires) = self.by_id.remove(id).and_then(|kept| kept.expires) {
            self.expiring.remove(&expires);
        }
    }
}

#[async_trait]
impl ResultStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn display_url(&self) -> String {
        format!("memory://{}", self.name)
    }

    async fn store(&self, meta: &TaskMeta, _reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        let data = self.settings.encode(meta)?;
        let mut results = self.shared.live();
        if results.by_id.get(&meta.id).is_some_and(|kept| stays(&kept.state, &meta.state)) {
            return Ok(());
        }
        results.remove(&meta.id);
        results.stored += 1;
        // A time beyond the clock's end is never.
        let expires = self.settings.expires().and_then(|expires| Instant::now().checked_add(expires));
        let expires = expires.map(|expires| (expires, results.stored));
        if let Some(expires) = expires {
            results.expiring.insert(expires, meta.id.clone());
        }
        results.by_id.insert(meta.id.clone(), Kept { data, state: meta.state.clone(), expires });
        drop(results);
        self.shared.watchers.notify(&meta.id, Notice::Check);
        Ok(())
    }

    async fn expect(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        let kept = self.shared.live().by_id.get(id).map(|kept| kept.data.clone());
        kept.map_or_else(|| Ok(TaskMeta::pending(id)), |data| self.settings.decode(id, data))
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.shared.watchers.watch(id).ready(self).await
    }

    async fn forget(&self, id: &str) -> Result<(), Error> {
        self.shared.live().remove(id);
        Ok(())
    }

    async fn chord_part(&self, part: &ChordPart<'_>) -> Result<Option<ChordHeader>, Error> {
        let meta = TaskMeta {
            id: part.id.to_owned(),
            state: part.state.clone(),
            result: part.result.clone(),
            ..TaskMeta::default()
        };
        let mut chords = self.shared.chords();
        let chord = chords.entry(part.group.to_owned()).or_default();
        chord.parts.insert((part.index.unwrap_or(i64::MAX), part.id.to_owned()), meta);
        let is_whole = chord.size == Some(chord.parts.len());
        Ok(is_whole.then(|| ChordHeader { parts: chord.parts.values().cloned().collect(), saved: None }))
    }

    async fn set_chord_size(&self, group: &str, size: usize) -> Result<(), Error> {
        self.shared.chords().entry(group.to_owned()).or_default().size = Some(size);
        Ok(())
    }

    async fn chord_done(&self, group: &str) -> Result<(), Error> {
        self.shared.chords().remove(group);
        Ok(())
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    /// Nothing is to be let go of; calls that wait on a handle of this name go on.
    async fn close(&self) {}
}
