//! Memory for a start: a piece of the program's own, given out from one end and hardly ever taken back.
//!
//! A start allocates little, and is over before it would matter. A general allocator asks the kernel for
//! memory, keeps its books in further pages, and copies them at the fork: a twentieth of all the time.
//! Where the piece is used up, as by thousands of maps or after years of waiting, the system's
//! allocator goes on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// A start takes a quarter of it; with options, for which clap is asked, three quarters.
const SIZE: usize = 64 << 10;

/// The piece: whole pages, so that nothing else is copied along.
#[repr(C, align(4096))]
pub struct Arena {
    /// Where in the memory what is free begins.
    next: AtomicUsize,
    memory: UnsafeCell<MaybeUninit<[u8; SIZE]>>,
}

// SAFETY: of the memory each byte is given to one caller at a time, as `next` is only moved atomically,
// and whoever gets what another has given back sees all that was done with it.
unsafe impl Sync for Arena {}

impl Arena {
    /// All of it is free.
    #[allow(clippy::new_without_default)] // of no use but for a static
    pub const fn new() -> Self {
        Self {
            next: AtomicUsize::new(0),
            memory: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Where in the piece `pointer` leads, if it does.
    fn offset_of(&self, pointer: *mut u8) -> Option<usize> {
        let offset = pointer.addr().checked_sub(self.memory.get().addr())?;
        (offset < SIZE).then_some(offset)
    }

    /// Moves `next` from the one place to the other, if it is there.
    fn moves(&self, from: usize, to: usize) -> bool {
        to <= SIZE
            && self
                .next
                .compare_exchange(from, to, AcqRel, Acquire)
                .is_ok()
    }
}

// SAFETY: a block is within the piece, aligned as wanted, and nobody else's until it is given back; or it
// is the system's, which then gets it back.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let memory = self.memory.get().cast::<u8>();
        let mut begin = 0;
        let taken = self.next.fetch_update(AcqRel, Acquire, |next| {
            let address = memory.addr() + next;
            begin = address.checked_next_multiple_of(layout.align())? - memory.addr();
            begin.checked_add(layout.size()).filter(|end| *end <= SIZE)
        });
        if taken.is_err() {
            // SAFETY: as the caller of this says.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: `begin` is not beyond the end of the piece.
        unsafe { memory.add(begin) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset_of(pointer) {
            // Taken back if it is the last; else it is left.
            Some(begin) => {
                self.moves(begin + layout.size(), begin);
            }
            // SAFETY: it is not from the piece, so it is from the system; as the caller of this says.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(begin) = self.offset_of(pointer) else {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        let is_smaller = size <= layout.size();
        if self.moves(begin + layout.size(), begin.saturating_add(size)) || is_smaller {
            return pointer;
        }
        // SAFETY: the alignment was one before, and the size is one, as the caller of this says.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as the caller of this says.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            let count = layout.size().min(size);
            // SAFETY: both have `count` bytes, and no block overlaps with another one.
            unsafe { moved.copy_from_nonoverlapping(pointer, count) };
            // SAFETY: as the caller of this says; it is not used any more.
            unsafe { self.dealloc(pointer, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    fn alloc(arena: &Arena, layout: Layout) -> *mut u8 {
        // SAFETY: of more than no bytes.
        let pointer = unsafe { arena.alloc(layout) };
        // SAFETY: the block has that many bytes.
        unsafe { pointer.write_bytes(0xa5, layout.size()) };
        assert!(pointer.addr().is_multiple_of(layout.align()));
        pointer
    }

    #[test]
    fn blocks_are_beside_each_other_and_the_last_comes_back() {
        static ARENA: Arena = Arena::new();
        let first = alloc(&ARENA, layout(3, 1));
        let second = alloc(&ARENA, layout(8, 8));
        assert_eq!(second.addr() - first.addr(), 8);
        // SAFETY: it is a block of this layout.
        unsafe { ARENA.dealloc(second, layout(8, 8)) };
        assert_eq!(alloc(&ARENA, layout(16, 8)), second);
        // SAFETY: as above; not the last, so it is left.
        unsafe { ARENA.dealloc(first, layout(3, 1)) };
        assert_ne!(alloc(&ARENA, layout(3, 1)), first);
    }

    #[test]
    fn the_last_grows_in_its_place_and_another_is_copied() {
        static ARENA: Arena = Arena::new();
        let first = alloc(&ARENA, layout(8, 8));
        // SAFETY: it is a block of this layout.
        let grown = unsafe { ARENA.realloc(first, layout(8, 8), 100) };
        assert_eq!(grown, first);
        let second = alloc(&ARENA, layout(1, 1));
        // SAFETY: as above.
        let copied = unsafe { ARENA.realloc(grown, layout(100, 8), 200) };
        assert!(copied.addr() > second.addr());
        // SAFETY: the first bytes of that block were written.
        let bytes = unsafe { std::slice::from_raw_parts(copied, 8) };
        assert_eq!(bytes, [0xa5; 8]);
    }

    #[test]
    fn what_does_not_fit_is_the_systems() {
        static ARENA: Arena = Arena::new();
        for (size, align) in [(SIZE + 1, 1), (SIZE - 8, 8192), (SIZE, 16)] {
            let layout = layout(size, align);
            let pointer = alloc(&ARENA, layout);
            // SAFETY: it is a block of this layout.
            let pointer = unsafe { ARENA.realloc(pointer, layout, size * 2) };
            assert_eq!(ARENA.offset_of(pointer), None);
            let layout = Layout::from_size_align(size * 2, align).unwrap();
            // SAFETY: as above.
            unsafe { ARENA.dealloc(pointer, layout) };
        }
        assert!(ARENA.offset_of(alloc(&ARENA, layout(SIZE, 1))).is_some());
    }
}
