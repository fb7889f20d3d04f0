//! A table of what is registered: each entry has a slot of its own, which a small number names.
//!
//! The kernel hands back the number of the slot with each edge. A slot is used again, so an old edge could be taken for
//! one of the slot's new owner. The stamp that comes with the number prevents this: a new owner goes on from the stamp
//! of the last one, so that no two askings of a slot have the same stamp (until there have been 2^32 of them).

use crate::unix::readiness::Key;

/// See the head of this module. An insertion allocates only if there are more entries than ever before.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Entry<T>>,
    /// The head of the list of free slots, or [`NONE`].
    free: u32,
}

#[derive(Debug)]
enum Entry<T> {
    Taken(T),
    Free { stamp: u32, next: u32 },
}

/// No slot has this number.
const NONE: u32 = u32::MAX;

impl<T> Slots<T> {
    pub(crate) fn new() -> Slots<T> {
        Slots {
            entries: Vec::new(),
            free: NONE,
        }
    }

    /// The slot that the next [`insert`](Slots::insert) fills, and the stamp that its owner goes on from. `None` if all
    /// 2^32 - 1 slots are taken.
    pub(crate) fn vacant(&self) -> Option<Key> {
        match self.entries.get(self.free as usize) {
            Some(Entry::Free { stamp, .. }) => Some(Key {
                slot: self.free,
                stamp: *stamp,
            }),
            _ => {
                let slot = u32::try_from(self.entries.len()).ok()?;
                (slot != NONE).then_some(Key { slot, stamp: 0 })
            }
        }
    }

    /// Fills the slot that [`vacant`](Slots::vacant) named.
    pub(crate) fn insert(&mut self, value: T) {
        match self.entries.get_mut(self.free as usize) {
            Some(entry) => {
                if let Entry::Free { next, .. } = *entry {
                    self.free = next;
                }
                *entry = Entry::Taken(value);
            }
            None => self.entries.push(Entry::Taken(value)),
        }
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        match self.entries.get(slot as usize) {
            Some(Entry::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// All entries that are taken. It looks at every slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Taken(value) => Some(value),
            Entry::Free { .. } => None,
        })
    }

    /// Frees a slot, whose next owner goes on from the stamp in `key`.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if let Entry::Free { .. } = entry {
            return None;
        }
        let freed = Entry::Free {
            stamp: key.stamp,
            next: self.free,
        };
        self.free = key.slot;
        match std::mem::replace(entry, freed) {
            Entry::Taken(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<char>, value: char) -> Key {
        let key = slots.vacant().expect("there is room");
        slots.insert(value);
        key
    }

    #[test]
    fn a_slot_is_used_again_and_its_stamp_goes_on() {
        let mut slots = Slots::new();
        let a = insert(&mut slots, 'a');
        let b = insert(&mut slots, 'b');
        assert_eq!((a.slot, b.slot), (0, 1));
        assert_eq!(
            slots.remove(Key {
                slot: a.slot,
                stamp: 41
            }),
            Some('a')
        );
        assert_eq!(slots.get(a.slot), None);
        let c = insert(&mut slots, 'c');
        assert_eq!(c, Key { slot: 0, stamp: 41 });
        assert_eq!((slots.get(0), slots.get(1)), (Some(&'c'), Some(&'b')));
    }

    #[test]
    fn free_slots_are_all_found_again() {
        let mut slots = Slots::new();
        for value in 'a'..='d' {
            insert(&mut slots, value);
        }
        for slot in [1, 3, 0] {
            assert!(slots
                .remove(Key {
                    slot,
                    stamp: slot + 10
                })
                .is_some());
        }
        let again: Vec<u32> = "xyz"
            .chars()
            .map(|value| insert(&mut slots, value).slot)
            .collect();
        assert_eq!(again, [0, 3, 1]);
        assert_eq!(insert(&mut slots, 'e').slot, 4);
    }

    #[test]
    fn freeing_twice_or_at_random_does_nothing() {
        let mut slots = Slots::new();
        let a = insert(&mut slots, 'a');
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.remove(Key { slot: 9, stamp: 0 }), None);
        assert_eq!(insert(&mut slots, 'b').slot, 0);
        assert_eq!(insert(&mut slots, 'c').slot, 1);
    }

    #[test]
    fn an_entry_is_as_small_as_a_pointer_to_a_source() {
        let pointer = std::mem::size_of::<std::sync::Arc<dyn Send>>();
        let entry = std::mem::size_of::<Entry<std::sync::Arc<dyn Send>>>();
        // The two numbers of a free slot hide in a wide pointer; of a narrow one they need a word more.
        assert!(entry <= pointer.max(16), "{entry}");
    }
}
