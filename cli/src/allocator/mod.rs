//! Where memory comes from.
//!
//! A tenth of rendering and of the work of a cluster is asking for memory, most of it in small pieces. Commands that compute
//! and end have it from an [`arena`]. Those that stay, or ask for more than the arena has, have small pieces from mimalloc,
//! without huge pages, which would double what it takes. Large ones come from the system, which makes them larger without
//! copying (`mremap`), so that a text that grows is never there twice.

#![expect(
    unsafe_code,
    reason = "an allocator cannot be made otherwise; each call is passed on as it came, to whom the address or the layout names"
)]

mod arena;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use libmimalloc_sys::{mi_option_set, mi_option_t, mi_reserve_os_memory_ex};
use mimalloc::MiMalloc;
use rustix::process::{Resource, getrlimit};

/// Bytes from which on a piece is large.
const LARGE: usize = 1 << 20;

/// `mi_option_arena_eager_commit` of mimalloc 3: whether all that it asks the system for counts where memory is limited
/// (`ulimit -d`), used or not.
const ARENA_EAGER_COMMIT: mi_option_t = 4;

/// `mi_option_purge_delay` of mimalloc 3: after how many milliseconds what is not used goes back to the system; never where
/// it is negative.
const PURGE_DELAY: mi_option_t = 15;

/// `mi_option_arena_reserve` of mimalloc 3: how much it asks the system for when it has no more, in KiB; it asks for more
/// and more by and by. To keep books of the gigabyte that it would begin with takes pages of every command.
const ARENA_RESERVE: mi_option_t = 23;

/// Bytes that mimalloc is given at first, its least, unless memory is limited: a command need not ask the system for each of
/// its pages.
const FIRST: usize = 32 << 20;

/// The arena while it has some, else mimalloc for small pieces and the system for large ones: the address and the layout
/// tell whose a piece is.
pub(crate) struct Allocator;

/// Whether mimalloc was told how to work; the first piece is asked for before there is a second thread.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// What a command does with memory, which is to be told before a second thread begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It computes and ends.
    Short,
    /// It stays, or waits for others.
    Long,
}

unsafe extern "C" {
    /// Starts mimalloc, whose heaps end with their threads from then on. Its own constructor would do so with every start
    /// of the program; it is left out by `.cargo/config.toml`. No harm is done where it is not.
    fn _mi_auto_process_init();
}

/// Chooses where memory comes from, from now on.
pub(crate) fn prepare(usage: Use) {
    match usage {
        Use::Short => arena::open(),
        Use::Long => {
            arena::close();
            // SAFETY: this is the first thread, which mimalloc takes for the one that lasts.
            unsafe { _mi_auto_process_init() };
        }
    }
}

/// For the end of the program: what it has goes back with the process, not piece by piece before.
pub(crate) fn keep_until_exit() {
    if IS_SET.load(Ordering::Relaxed) {
        // SAFETY: it reads options at any time, from any thread.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
}

/// Tells mimalloc how to work, before it is asked for the first piece.
#[inline]
fn set_up() {
    if IS_SET.load(Ordering::Relaxed) {
        return;
    }
    IS_SET.store(true, Ordering::Relaxed);
    // SAFETY: as above; what is reserved is its own.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(ARENA_RESERVE, 32 << 10);
        if getrlimit(Resource::Data).current.is_none() {
            // Where it fails there is less to come by, which then is asked for.
            mi_reserve_os_memory_ex(FIRST, true, false, false, ptr::null_mut());
        }
    }
}

/// A piece from whoever has one, of zeros if asked for.
///
/// # Safety
///
/// As of [`GlobalAlloc::alloc`].
#[inline]
unsafe fn give(layout: Layout, zeroed: bool) -> *mut u8 {
    let piece = arena::alloc(layout, zeroed);
    if !piece.is_null() {
        return piece;
    }
    set_up();
    unsafe {
        match (layout.size() < LARGE, zeroed) {
            (true, false) => MiMalloc.alloc(layout),
            (true, true) => MiMalloc.alloc_zeroed(layout),
            (false, false) => System.alloc(layout),
            (false, true) => System.alloc_zeroed(layout),
        }
    }
}

// SAFETY: a piece goes back to where it came from: the arena knows its own, the others are told by their size.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { give(layout, false) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { give(layout, true) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if arena::holds(piece) {
            unsafe { arena::dealloc(piece, layout) }
        } else if layout.size() < LARGE {
            unsafe { MiMalloc.dealloc(piece, layout) }
        } else {
            unsafe { System.dealloc(piece, layout) }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let is_of_arena = arena::holds(piece);
        match (layout.size() < LARGE, size < LARGE) {
            _ if is_of_arena && arena::resize(piece, layout, size) => piece,
            (true, true) if !is_of_arena => unsafe { MiMalloc.realloc(piece, layout, size) },
            (false, false) if !is_of_arena => unsafe { System.realloc(piece, layout, size) },
            _ => unsafe {
                let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !other.is_null() {
                    ptr::copy_nonoverlapping(piece, other, layout.size().min(size));
                    self.dealloc(piece, layout);
                }
                other
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece with what was written to it.
    struct Piece {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Piece {
        fn new(size: usize, align: usize, mark: u8, zeroed: bool) -> Self {
            let layout = Layout::from_size_align(size, align).expect("a fine layout");
            let at = unsafe {
                if zeroed {
                    Allocator.alloc_zeroed(layout)
                } else {
                    Allocator.alloc(layout)
                }
            };
            assert!(!at.is_null() && at.addr().is_multiple_of(align), "{layout:?}");
            let mut piece = Piece { at, layout, mark };
            assert!(
                !zeroed || piece.bytes().iter().all(|byte| *byte == 0),
                "{layout:?} is not of zeros"
            );
            piece.bytes().fill(mark);
            piece
        }

        fn bytes(&mut self) -> &mut [u8] {
            unsafe { std::slice::from_raw_parts_mut(self.at, self.layout.size()) }
        }

        fn check(&mut self) {
            let mark = self.mark;
            assert!(
                self.bytes().iter().all(|byte| *byte == mark),
                "{:?} was written to by others",
                self.layout
            );
        }

        fn resize(&mut self, size: usize) {
            self.check();
            let kept = size.min(self.layout.size());
            self.at = unsafe { Allocator.realloc(self.at, self.layout, size) };
            self.layout = Layout::from_size_align(size, self.layout.align()).expect("a fine layout");
            let mark = self.mark;
            assert!(self.bytes()[..kept].iter().all(|byte| *byte == mark), "lost");
            self.bytes().fill(mark);
        }

        fn free(mut self) {
            self.check();
            unsafe { Allocator.dealloc(self.at, self.layout) };
        }
    }

    /// Numbers by chance, the same in each run (a linear congruential generator with Knuth's constants).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end
        }

        /// Mostly small, sometimes more than the arena gives as one piece.
        fn size(&mut self) -> usize {
            let bits = match self.below(1000) {
                0 => 24,
                1..5 => 21,
                5..25 => 17,
                25..150 => 12,
                _ => 8,
            };
            1 + self.below(1 << bits)
        }
    }

    fn use_by_chance(seed: u64) {
        let mut chance = Chance(seed);
        let mut pieces: Vec<Piece> = Vec::new();
        for _ in 0..20_000 {
            match chance.below(5) {
                0 | 1 => {
                    let align = [1, 2, 8, 16, 64, 4096][chance.below(6)];
                    let (size, mark) = (chance.size(), chance.below(255) as u8 + 1);
                    pieces.push(Piece::new(size, align, mark, chance.below(3) == 0));
                }
                2 | 3 if !pieces.is_empty() => {
                    let at = chance.below(pieces.len());
                    pieces.swap_remove(at).free();
                }
                4 if !pieces.is_empty() => {
                    let (at, size) = (chance.below(pieces.len()), chance.size());
                    pieces[at].resize(size);
                }
                _ => {}
            }
        }
        pieces.into_iter().for_each(Piece::free);
    }

    /// In turns from the arena, mimalloc and the system, as there is room.
    #[test]
    fn pieces_keep_what_is_written_to_them() {
        prepare(Use::Short);
        std::thread::scope(|scope| {
            for seed in 1..=4 {
                scope.spawn(move || use_by_chance(seed));
            }
        });
    }
}
