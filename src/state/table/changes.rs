//! Which slots have changed, and which of them are still to be saved.
//!
//! A slot's mark says in which generation it was last touched, or that it was saved at the end of one. While
//! what a generation left is being saved, slots of it that are touched again, or are about to go, are *due*:
//! they are copied before their values change.

use super::ranks::Rank;
use crate::state::entries::Entries;

/// When a slot was last touched or saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Mark(u32);

impl Mark {
    /// Of a slot that is not in use.
    pub const VACANT: Mark = Mark(u32::MAX);
}

/// See the module's doc.
#[derive(Debug)]
pub struct Changes {
    is_tracked: bool,
    /// Counts the times that changes were saved.
    generation: u32,
    /// Slots touched in this generation; they may be free by now.
    touched: Vec<u32>,
    saving: Option<Saving>,
    /// With the rank that the entry had, where it has one: a use changes that at once.
    due: Vec<(u32, Option<Rank>)>,
    copied: Entries,
    /// That entries are gone which some checkpoint may have, in this generation.
    gone: Entries,
}

/// Which slots may be unsaved of those that the last generation left.
#[derive(Debug)]
enum Saving {
    /// Those touched in it.
    Touched(Vec<u32>),
    /// All from the first on up to the last.
    All(std::ops::Range<u32>),
}

impl Default for Changes {
    fn default() -> Self {
        let (touched, due, copied, gone) = (Vec::new(), Vec::new(), Entries::default(), Entries::default());
        Changes { is_tracked: false, generation: 1, touched, saving: None, due, copied, gone }
    }
}

impl Changes {
    pub fn track(&mut self) {
        self.is_tracked = true;
    }

    /// A generation ends. Of a table of `slots` slots, all are to be saved if `full`; else those that were touched,
    /// and before any of them what is gone, of which some may have come again.
    pub fn begin_save(&mut self, full: bool, slots: u32) {
        if cfg!(feature = "checked") {
            assert!(self.due.is_empty() && self.saving.is_none(), "a generation ends when the last one is saved");
            assert!(self.copied.is_empty(), "what was copied for the last one is saved with it");
        }
        let gone = std::mem::take(&mut self.gone);
        self.copied = if full { Entries::default() } else { gone };
        let touched = std::mem::take(&mut self.touched);
        self.saving = Some(if full { Saving::All(0..slots) } else { Saving::Touched(touched) });
        self.generation += 1;
    }

    pub fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Whether all slots are being saved.
    pub fn is_saving_all(&self) -> bool {
        matches!(self.saving, Some(Saving::All(_)))
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What a slot is marked with that is touched now.
    #[inline]
    pub fn touched_mark(&self) -> Mark {
        Mark(2 * self.generation)
    }

    /// What a slot is marked with that is saved as the last generation left it.
    pub fn saved_mark(&self) -> Mark {
        Mark(2 * self.generation + 1)
    }

    /// Whether a slot with this mark is still to be saved as the last generation left it.
    pub fn is_unsaved(&self, mark: Mark) -> bool {
        match &self.saving {
            Some(Saving::All(_)) => mark < self.touched_mark(),
            Some(Saving::Touched(_)) => mark == Mark(2 * self.generation - 2),
            None => false,
        }
    }

    /// A slot is touched for the first time in this generation; its new mark.
    pub fn touch(&mut self, mark: Mark, slot: u32, rank: Option<Rank>) -> Mark {
        if self.is_unsaved(mark) {
            self.due.push((slot, rank));
        }
        self.inserted(slot);
        self.touched_mark()
    }

    /// A slot was taken into use.
    pub fn inserted(&mut self, slot: u32) {
        if self.is_tracked {
            self.touched.push(slot);
        }
    }

    /// An unsaved slot is about to go; its new mark.
    pub fn doom(&mut self, slot: u32, rank: Option<Rank>) -> Mark {
        self.due.push((slot, rank));
        self.saved_mark()
    }

    /// An entry is gone that was made in an earlier generation, or else `is_new`.
    pub fn bury(&mut self, group: u16, key: &[u8], sub: &[u8], is_new: bool) {
        if self.is_tracked && !is_new {
            self.gone.push_tombstone(group, key, sub);
        }
    }

    /// What is gone up to now, for whoever saves entries before the generation ends.
    pub fn take_gone(&mut self) -> Entries {
        std::mem::take(&mut self.gone)
    }

    #[inline]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub fn take_due(&mut self) -> Vec<(u32, Option<Rank>)> {
        std::mem::take(&mut self.due)
    }

    pub fn take_copied(&mut self) -> Entries {
        std::mem::take(&mut self.copied)
    }

    pub fn give_back(&mut self, copied: Entries) {
        self.copied = copied;
    }

    /// A slot that may be unsaved, each at least once; `None`: there are no more.
    pub fn next_candidate(&mut self) -> Option<u32> {
        match self.saving.as_mut()? {
            Saving::Touched(slots) => slots.pop(),
            Saving::All(slots) => slots.next(),
        }
    }

    /// Everything is saved as the last generation left it.
    pub fn end_save(&mut self) {
        self.saving = None;
    }
}
