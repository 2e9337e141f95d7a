//! The snapshot that watches fill and passes read, and the index of who read what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use k8s_openapi::jiff::Timestamp;

use crate::plan::Target;
use crate::snapshot::Timings;
use crate::snapshot::{Kind, Read, Scope, Snapshot, View};

/// Snapshot and index, consistent with each other: a pass is indexed under the same lock that it read under, so no
/// change can slip between.
#[derive(Default)]
pub struct Store {
    snapshot: RwLock<Snapshot>,
    index: Mutex<Index>,
}

/// Who read what. The reverse is what makes dispatch exact: a change is told to those who read it and nobody else.
#[derive(Default)]
struct Index {
    reads: HashMap<Target, BTreeSet<Read>>,
    readers: HashMap<Read, BTreeSet<Target>>,
    watches: BTreeMap<(Kind, Scope), usize>,
}

impl Index {
    fn record(&mut self, target: &Target, reads: BTreeSet<Read>) {
        let old = self.reads.remove(target).unwrap_or_default();
        for gone in old.difference(&reads) {
            if let Some(readers) = self.readers.get_mut(gone) {
                readers.remove(target);
                if readers.is_empty() {
                    self.readers.remove(gone);
                }
            }
            if let Some(watch) = gone.watch() {
                self.release(&watch);
            }
        }
        for new in reads.difference(&old) {
            self.readers.entry(new.clone()).or_default().insert(target.clone());
            if let Some(watch) = new.watch() {
                *self.watches.entry(watch).or_default() += 1;
            }
        }
        if !reads.is_empty() {
            self.reads.insert(target.clone(), reads);
        }
    }

    fn release(&mut self, watch: &(Kind, Scope)) {
        if let Some(count) = self.watches.get_mut(watch) {
            *count -= 1;
            if *count == 0 {
                self.watches.remove(watch);
            }
        }
    }

    fn readers_of(&self, changed: &BTreeSet<Read>) -> BTreeSet<Target> {
        changed
            .iter()
            .filter_map(|read| self.readers.get(read))
            .flatten()
            .cloned()
            .collect()
    }
}

impl Store {
    /// A store that begins with a snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: RwLock::new(snapshot),
            index: Mutex::default(),
        }
    }

    /// Changes the snapshot; returns the targets that had read what changed.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot) -> BTreeSet<Read>) -> BTreeSet<Target> {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut snapshot);
        self.index().readers_of(&changed)
    }

    /// Runs a pass over the snapshot and notes what it read for the target.
    pub fn read<T>(&self, target: &Target, now: Timestamp, timings: Timings, pass: impl FnOnce(&View<'_>) -> T) -> T {
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        let view = View::new(&snapshot, now, timings);
        let out = pass(&view);
        self.index().record(target, view.into_reads());
        out
    }

    /// A look at the snapshot that nobody remembers.
    pub fn peek<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets a target that is gone.
    pub fn forget(&self, target: &Target) {
        self.index().record(target, BTreeSet::new());
    }

    /// Watches that reads of the moment need.
    pub fn wanted_watches(&self) -> BTreeSet<(Kind, Scope)> {
        self.index().watches.keys().cloned().collect()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Fact, Key};
    use serde_json::json;
    use std::sync::Arc;

    fn put(store: &Store, name: &str) -> BTreeSet<Target> {
        let object = Arc::new(json!({"metadata": {"namespace": "a", "name": name}}));
        store.change(|snapshot| snapshot.put(Kind::Secret, object, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_change_is_told_to_those_who_read_it_and_nobody_else() {
        let store = Store::default();
        let reader = Target::Mesh("m".into());
        let key = Key::new("a", "one");
        let read = |key: Key| {
            store.read(&reader, Timestamp::UNIX_EPOCH, Timings::default(), |view| {
                assert_eq!(view.object(Kind::Secret, &key), Fact::Unknown);
            });
        };
        read(key.clone());
        assert_eq!(put(&store, "two"), BTreeSet::new());
        assert_eq!(put(&store, "one"), BTreeSet::from([reader.clone()]));
        assert_eq!(
            store.wanted_watches(),
            BTreeSet::from([(Kind::Secret, Scope::Object(key))])
        );
        read(Key::new("a", "two"));
        let again = Arc::new(json!({"metadata": {"namespace": "a", "name": "one"}, "x": 1}));
        let told = store.change(|snapshot| snapshot.put(Kind::Secret, again, Timestamp::UNIX_EPOCH));
        assert_eq!(told, BTreeSet::new(), "what is no longer read is no longer told");
        store.forget(&reader);
        assert_eq!(store.wanted_watches(), BTreeSet::new());
    }
}
