//! In which order the parts of a restore are done by several sessions, without one ever waiting for another's lock.
//!
//! A part may begin when those before it are done, and while it runs no other part holds a lock that conflicts with its own.
//! Of those that may begin, the one with the longest expected path behind it goes first, so that no session idles at the end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of a part, in the order in which parts were added.
pub(super) type PartId = usize;

/// What is locked: a table.
pub(super) type LockId = u32;

/// One part of a restore.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// How long it is expected to take, in any unit that is the same for all.
    pub(super) cost: u64,
    /// What must be done before. Only parts that were added before this one.
    pub(super) after: Vec<PartId>,
    /// What it locks against changes, together with others.
    pub(super) shared: Vec<LockId>,
    /// What it locks for itself.
    pub(super) exclusive: Arc<Vec<LockId>>,
}

/// Parts, and what is known of their order.
#[derive(Debug, Default)]
pub(super) struct Graph {
    parts: Vec<Part>,
}

impl Graph {
    /// Adds a part.
    pub(super) fn add(&mut self, part: Part) -> PartId {
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The beginning of the work.
    pub(super) fn schedule(self) -> Schedule {
        let mut behind = vec![0u64; self.parts.len()];
        let mut followers = vec![Vec::new(); self.parts.len()];
        let mut missing = Vec::with_capacity(self.parts.len());
        // Every part is behind those it waits for, so that from the end on what follows is known.
        for (id, part) in self.parts.iter().enumerate().rev() {
            let path = part.cost.saturating_add(behind.get(id).copied().unwrap_or_default());
            for before in &part.after {
                if let (Some(longest), Some(followers)) = (behind.get_mut(*before), followers.get_mut(*before)) {
                    *longest = path.max(*longest);
                    followers.push(id);
                }
            }
        }
        let paths: Vec<u64> =
            self.parts.iter().zip(behind).map(|(part, behind)| part.cost.saturating_add(behind)).collect();
        let mut ready = BTreeSet::new();
        for (id, (part, path)) in self.parts.iter().zip(&paths).enumerate() {
            missing.push(part.after.len());
            if part.after.is_empty() {
                ready.insert((Reverse(*path), id));
            }
        }
        let left = self.parts.len();
        Schedule { parts: self.parts, paths, followers, missing, ready, left, locks: BTreeMap::new() }
    }
}

/// Who holds a lock now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Shared(u32),
    Exclusive,
}

/// The work as it goes on.
#[derive(Debug)]
pub(super) struct Schedule {
    parts: Vec<Part>,
    paths: Vec<u64>,
    followers: Vec<Vec<PartId>>,
    missing: Vec<usize>,
    ready: BTreeSet<(Reverse<u64>, PartId)>,
    left: usize,
    locks: BTreeMap<LockId, Held>,
}

impl Schedule {
    /// Whether everything is done.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The part to begin now; `None` if everything left waits for parts that run.
    pub(super) fn begin(&mut self) -> Option<PartId> {
        let found = self.ready.iter().find(|(_, id)| self.is_free(*id)).copied()?;
        self.ready.remove(&found);
        let id = found.1;
        if let Some(part) = self.parts.get(id) {
            for lock in part.exclusive.iter() {
                self.locks.insert(*lock, Held::Exclusive);
            }
            for lock in &part.shared {
                let held = self.locks.entry(*lock).or_insert(Held::Shared(0));
                if let Held::Shared(count) = held {
                    *count += 1;
                }
            }
        }
        Some(id)
    }

    /// Says that a part that was begun is done.
    pub(super) fn done(&mut self, id: PartId) {
        let Some(part) = self.parts.get(id) else { return };
        self.left = self.left.saturating_sub(1);
        for lock in part.exclusive.iter() {
            self.locks.remove(lock);
        }
        for lock in &part.shared {
            match self.locks.get_mut(lock) {
                Some(Held::Shared(count)) if *count > 1 => *count -= 1,
                Some(Held::Shared(_)) => drop(self.locks.remove(lock)),
                Some(Held::Exclusive) | None => {}
            }
        }
        for follower in self.followers.get(id).into_iter().flatten() {
            if let (Some(missing), Some(path)) = (self.missing.get_mut(*follower), self.paths.get(*follower)) {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    self.ready.insert((Reverse(*path), *follower));
                }
            }
        }
    }

    fn is_free(&self, id: PartId) -> bool {
        self.parts.get(id).is_some_and(|part| {
            part.exclusive.iter().all(|lock| !self.locks.contains_key(lock))
                && part.shared.iter().all(|lock| self.locks.get(lock) != Some(&Held::Exclusive))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(cost: u64, after: &[PartId], shared: &[LockId], exclusive: &[LockId]) -> Part {
        Part { cost, after: after.to_vec(), shared: shared.to_vec(), exclusive: Arc::new(exclusive.to_vec()) }
    }

    #[test]
    fn the_longest_path_goes_first_and_locks_are_kept() {
        let mut graph = Graph::default();
        let large = graph.add(part(50, &[], &[], &[1]));
        let small = graph.add(part(40, &[], &[], &[2]));
        let index = graph.add(part(5, &[small], &[2], &[]));
        let key = graph.add(part(30, &[small], &[], &[2]));
        let foreign = graph.add(part(1, &[large, key], &[], &[1, 2]));
        assert_eq!(graph.len(), 5);
        let mut schedule = graph.schedule();
        assert_eq!((schedule.begin(), schedule.begin(), schedule.begin()), (Some(small), Some(large), None));
        schedule.done(small);
        assert_eq!((schedule.begin(), schedule.begin()), (Some(key), None), "the index waits for the key's lock");
        schedule.done(key);
        assert_eq!((schedule.begin(), schedule.begin()), (Some(index), None));
        schedule.done(large);
        assert_eq!(schedule.begin(), None, "the index holds a lock that the foreign key needs");
        schedule.done(index);
        assert_eq!(schedule.begin(), Some(foreign));
        assert!(!schedule.is_done());
        schedule.done(foreign);
        assert!(schedule.is_done());
    }

    proptest! {
        #[test]
        fn everything_is_done_once_in_order_and_no_lock_is_shared_wrongly(
            parts in prop::collection::vec(
                (0u64..100, prop::collection::vec(any::<prop::sample::Index>(), 0..4),
                 prop::collection::btree_set(0u32..6, 0..3), prop::collection::btree_set(0u32..6, 0..3)),
                1..40,
            ),
            sessions in 1usize..5,
            ends in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut graph = Graph::default();
            let mut made = Vec::new();
            for (cost, after, shared, exclusive) in parts {
                let after: Vec<PartId> = match made.len() {
                    0 => Vec::new(),
                    many => after.iter().map(|index| index.index(many)).collect::<BTreeSet<_>>().into_iter().collect(),
                };
                let shared: Vec<u32> = shared.difference(&exclusive).copied().collect();
                let part = part(cost, &after, &shared, &exclusive.into_iter().collect::<Vec<_>>());
                made.push(part.clone());
                graph.add(part);
            }
            let mut schedule = graph.schedule();
            let (mut running, mut done): (Vec<PartId>, BTreeSet<PartId>) = Default::default();
            let mut ends = ends.iter().cycle();
            while !schedule.is_done() {
                while running.len() < sessions && let Some(id) = schedule.begin() {
                    prop_assert!(made[id].after.iter().all(|before| done.contains(before)));
                    for other in &running {
                        let mine = &made[id];
                        let theirs = &made[*other];
                        let clash = |a: &Part, b: &Part| a.exclusive.iter().any(|l| b.exclusive.contains(l) || b.shared.contains(l));
                        prop_assert!(!clash(mine, theirs) && !clash(theirs, mine));
                    }
                    running.push(id);
                }
                prop_assert!(!running.is_empty(), "nobody works and something is left");
                let id = running.swap_remove(ends.next().unwrap().index(running.len()));
                schedule.done(id);
                prop_assert!(done.insert(id));
            }
            prop_assert_eq!(done.len(), made.len());
        }
    }
}
