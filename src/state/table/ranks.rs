//! Which entry goes when there is no room for another.
//!
//! Where a table has a capacity, every key group has a share of it, so that what goes does not depend on how the
//! groups are spread over workers. Whoever makes an entry in a full group evicts the one of least [`Rank`]. This is
//! the pure part of it: slots and groups are numbers here, and the table does what follows.
//!
//! # How the least is found
//! A rank only ever grows, so that the queue of a group may lag behind: an entry stands in it under the rank that
//! it had when it was put there. If the first one's rank has grown since, it is put back as it is now; if not, it
//! is the least of all. A use is then two stores, and costs nothing for what is never looked at again. An ordered
//! set would have been searched twice at each use.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::data::key::KEY_GROUPS;
use crate::state::entries::RestoreError;
use crate::state::options::{Capacity, Eviction};

/// How soon an entry goes: of two in a group the lesser goes first. No two in a group are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// How often it was used, where that matters.
    uses: u64,
    /// When it was used last or made, in a count of its group.
    order: u64,
}

impl Rank {
    /// Appends it to the value of its entry.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend(self.uses.to_be_bytes());
        out.extend(self.order.to_be_bytes());
    }

    /// From what follows the value of a saved entry: nothing where it was saved without a capacity.
    pub fn read(bytes: &[u8]) -> Result<Option<Rank>, RestoreError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
        let (uses, order) = bytes.split_at(bytes.len().min(8));
        match (number(uses), number(order)) {
            (Ok(uses), Ok(order)) => Ok(Some(Rank { uses, order })),
            (Err(_), _) | (_, Err(_)) => Err(RestoreError::Damaged("its rank is no rank")),
        }
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct Ranks {
    eviction: Eviction,
    /// Most entries of a group.
    share: usize,
    groups: Vec<Group>,
    /// By slot.
    ranked: Vec<Ranked>,
}

#[derive(Debug, Default)]
struct Group {
    live: usize,
    next_order: u64,
    queue: BinaryHeap<Reverse<(Rank, u32)>>,
}

#[derive(Clone, Copy, Debug)]
struct Ranked {
    rank: Rank,
    /// The order under which it stands in the queue; `None` where it does not.
    queued: Option<u64>,
    /// In which generation of the table it was made.
    born: u32,
    group: u16,
}

/// A queue with more that is gone than what lives and this is rebuilt.
const GONE_MAX: usize = 32;

impl Group {
    fn next(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }
}

impl Ranks {
    /// Where rows have no key, all that is kept is of one group, which then has the whole capacity.
    pub fn new(capacity: Capacity, has_key: bool) -> Ranks {
        let groups = if has_key { KEY_GROUPS } else { 1 };
        let share = usize::try_from(capacity.entries / groups).unwrap_or(usize::MAX).max(1);
        let groups = (0..groups).map(|_| Group::default()).collect();
        Ranks { eviction: capacity.eviction, share, groups, ranked: Vec::new() }
    }

    /// Whether a use of an entry matters.
    pub fn counts_uses(&self) -> bool {
        match self.eviction {
            Eviction::Lru | Eviction::Lfu => true,
            Eviction::Fifo => false,
        }
    }

    fn group(&mut self, group: u16) -> &mut Group {
        let index = if self.groups.len() == 1 { 0 } else { usize::from(group) };
        &mut self.groups[index]
    }

    /// An entry is made; the slot of the one that goes for it, if one does.
    pub fn insert(&mut self, slot: u32, group: u16, born: u32) -> Option<u32> {
        let is_full = self.group(group).live >= self.share;
        let victim = if is_full { self.pop_least(group) } else { None };
        let uses = u64::from(self.eviction == Eviction::Lfu);
        let order = self.group(group).next();
        self.set(slot, Ranked { rank: Rank { uses, order }, queued: None, born, group });
        self.enqueue(slot);
        victim
    }

    /// A saved entry comes back: its slot is counted, and has no rank yet.
    pub fn restore(&mut self, slot: u32, group: u16) {
        self.set(slot, Ranked { rank: Rank::default(), queued: None, born: 0, group });
    }

    /// Gives a restored entry the rank that it was saved with; without one it is as if it was made now. An entry
    /// that is restored from several has the greatest of their ranks.
    pub fn rank_restored(&mut self, slot: u32, saved: Option<Rank>) {
        let Ranked { rank, queued, group, .. } = self.ranked[slot as usize];
        let of_group = self.group(group);
        let saved = saved.unwrap_or_else(|| Rank { uses: 0, order: of_group.next() });
        of_group.next_order = of_group.next_order.max(saved.order);
        self.ranked[slot as usize].rank = rank.max(saved);
        if queued.is_none() {
            self.enqueue(slot);
        }
    }

    fn set(&mut self, slot: u32, ranked: Ranked) {
        self.group(ranked.group).live += 1;
        let slots = self.ranked.len().max(slot as usize + 1);
        self.ranked.resize(slots, Ranked { rank: Rank::default(), queued: None, born: 0, group: 0 });
        self.ranked[slot as usize] = ranked;
    }

    fn enqueue(&mut self, slot: u32) {
        let ranked = &mut self.ranked[slot as usize];
        ranked.queued = Some(ranked.rank.order);
        let (rank, group) = (ranked.rank, ranked.group);
        self.group(group).queue.push(Reverse((rank, slot)));
    }

    /// An entry is used.
    #[inline]
    pub fn use_it(&mut self, slot: u32) {
        let counted = match self.eviction {
            Eviction::Lru => 0,
            Eviction::Lfu => 1,
            Eviction::Fifo => return,
        };
        let order = self.group(self.ranked[slot as usize].group).next();
        let rank = &mut self.ranked[slot as usize].rank;
        *rank = Rank { uses: rank.uses + counted, order };
    }

    /// Whether the entry of a slot is neither evicted nor gone of itself.
    pub fn holds(&self, slot: u32) -> bool {
        self.ranked[slot as usize].queued.is_some()
    }

    pub fn rank(&self, slot: u32) -> Rank {
        self.ranked[slot as usize].rank
    }

    /// In which generation the entry was made, and its group.
    pub fn origin(&self, slot: u32) -> (u32, u16) {
        let ranked = &self.ranked[slot as usize];
        (ranked.born, ranked.group)
    }

    /// An entry is gone of itself. One that was evicted may be told so again.
    pub fn remove(&mut self, slot: u32) {
        let Some(ranked) = self.ranked.get_mut(slot as usize).filter(|r| r.queued.is_some()) else { return };
        ranked.queued = None;
        let group = ranked.group;
        let of_group = self.group(group);
        of_group.live -= 1;
        if of_group.queue.len() > 2 * of_group.live + GONE_MAX {
            let mut queue = std::mem::take(&mut of_group.queue);
            queue.retain(|Reverse((rank, slot))| self.stands(*slot, group, *rank));
            self.group(group).queue = queue;
        }
    }

    /// Whether what a queue says of a slot is of the entry that is there now.
    fn stands(&self, slot: u32, group: u16, rank: Rank) -> bool {
        let ranked = &self.ranked[slot as usize];
        ranked.queued == Some(rank.order) && (self.groups.len() == 1 || ranked.group == group)
    }

    /// Takes the entry of least rank of a group out.
    fn pop_least(&mut self, group: u16) -> Option<u32> {
        loop {
            let Reverse((rank, slot)) = self.group(group).queue.pop()?;
            if !self.stands(slot, group, rank) {
                continue;
            }
            if self.ranked[slot as usize].rank != rank {
                self.enqueue(slot);
                continue;
            }
            self.ranked[slot as usize].queued = None;
            self.group(group).live -= 1;
            return Some(slot);
        }
    }

    /// Takes out what is beyond the capacity.
    pub fn pop_excess(&mut self) -> Vec<u32> {
        let mut slots = Vec::new();
        for group in 0..self.groups.len() as u16 {
            while self.group(group).live > self.share {
                slots.extend(self.pop_least(group));
            }
        }
        slots
    }

    pub fn bytes(&self) -> usize {
        let queues: usize = self.groups.iter().map(|g| size_of::<Group>() + g.queue.capacity() * 24).sum();
        queues + self.ranked.capacity() * size_of::<Ranked>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Of a new entry, in one of three groups.
        Insert(u16),
        /// Of the n-th entry there is.
        Use(prop::sample::Index),
        Remove(prop::sample::Index),
        /// All that is there is saved and restored into new slots.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3u16).prop_map(Step::Insert),
            4 => any::<prop::sample::Index>().prop_map(Step::Use),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => Just(Step::Restart),
        ];
        prop::collection::vec(step, 0..150)
    }

    /// What is known of an entry without any cleverness.
    #[derive(Clone, Debug)]
    struct Known {
        slot: u32,
        group: u16,
        uses: u64,
        used: usize,
        made: usize,
    }

    fn least(known: &[Known], group: u16, eviction: Eviction) -> usize {
        let of_group = known.iter().enumerate().filter(|(_, k)| k.group == group);
        let found = of_group.min_by_key(|(_, k)| match eviction {
            Eviction::Lru => (0, k.used),
            Eviction::Lfu => (k.uses, k.used),
            Eviction::Fifo => (0, k.made),
        });
        found.expect("a full group has entries").0
    }

    /// The same entries in slots of other numbers.
    fn restart(ranks: &Ranks, known: &mut [Known], new: impl Fn() -> Ranks) -> Ranks {
        let mut next = new();
        for (slot, entry) in known.iter_mut().rev().enumerate() {
            let mut bytes = Vec::new();
            ranks.rank(entry.slot).write(&mut bytes);
            entry.slot = slot as u32;
            next.restore(entry.slot, entry.group);
            next.rank_restored(entry.slot, Rank::read(&bytes).unwrap());
        }
        assert!(next.pop_excess().is_empty());
        next
    }

    proptest! {
        /// Against looking at all entries.
        #[test]
        fn the_least_goes(
            steps in steps(), share in 1..5u64, has_key: bool,
            eviction in prop::sample::select(vec![Eviction::Lru, Eviction::Lfu, Eviction::Fifo]),
        ) {
            let entries = if has_key { share * KEY_GROUPS } else { share };
            let new = || Ranks::new(Capacity { entries, eviction }, has_key);
            let (mut ranks, mut known, mut free) = (new(), Vec::<Known>::new(), Vec::new());
            for (now, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(group) => {
                        let slot = free.pop().unwrap_or(known.len() as u32);
                        // Without a key all groups are one.
                        let counted = if has_key { group } else { 0 };
                        let is_full = known.iter().filter(|k| k.group == counted).count() == share as usize;
                        let gone = is_full.then(|| known.remove(least(&known, counted, eviction)).slot);
                        prop_assert_eq!(ranks.insert(slot, group, 1), gone);
                        free.extend(gone);
                        known.push(Known { slot, group: counted, uses: 1, used: now, made: now });
                    }
                    Step::Use(_) | Step::Remove(_) if known.is_empty() => {}
                    Step::Use(which) => {
                        let which = which.index(known.len());
                        let entry = &mut known[which];
                        (entry.uses, entry.used) = (entry.uses + 1, now);
                        ranks.use_it(entry.slot);
                    }
                    Step::Remove(which) => {
                        let entry = known.remove(which.index(known.len()));
                        ranks.remove(entry.slot);
                        free.push(entry.slot);
                    }
                    Step::Restart => {
                        ranks = restart(&ranks, &mut known, new);
                        free.clear();
                    }
                }
            }
        }

        /// However often entries come and go, what is remembered of them is bounded by what is there.
        #[test]
        fn what_is_gone_is_forgotten(keep in 0..5u32) {
            let mut ranks = Ranks::new(Capacity { entries: 100, eviction: Eviction::Lru }, false);
            (0..keep).for_each(|slot| assert_eq!(ranks.insert(slot, 0, 1), None));
            for _ in 0..10_000 {
                ranks.insert(keep, 0, 1);
                ranks.remove(keep);
            }
            prop_assert!(ranks.groups[0].queue.len() <= 2 * keep as usize + GONE_MAX + 1);
        }
    }

    #[test]
    fn more_than_there_is_room_for_is_evicted_at_once() {
        let mut ranks = Ranks::new(Capacity { entries: 2, eviction: Eviction::Lru }, false);
        for (slot, order) in [(0, 30), (1, 10), (2, 40), (3, 20)] {
            ranks.restore(slot, 7);
            ranks.rank_restored(slot, Some(Rank { uses: 0, order }));
        }
        assert_eq!(ranks.pop_excess(), [1, 3]);
        assert_eq!(ranks.insert(1, 7, 1), Some(0));
    }

    #[test]
    fn a_rank_that_is_cut_off_is_damaged() {
        assert!(matches!(Rank::read(&[]), Ok(None)));
        assert!(Rank::read(&[0; 15]).is_err());
        assert!(Rank::read(&[0; 17]).is_err());
    }
}
