//! Where memory comes from.
//!
//! A tenth of rendering and of the work of a cluster is asking for memory, most of it in small pieces: these come from
//! mimalloc, without huge pages, which would double what a short command takes. Large ones come from the system, which
//! makes them larger without copying (`mremap`), so that a text that grows is never there twice.

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
/// and more by and by. To keep books of the gigabyte that it would begin with costs a short command a tenth of its pages.
const ARENA_RESERVE: mi_option_t = 23;

/// Bytes that it is given at first, its least, unless memory is limited: a short command need not ask the system for each
/// of its pages.
const FIRST: usize = 32 << 20;

/// mimalloc for small pieces, the system for large ones: the layout tells whose a piece is.
pub(crate) struct BySize;

/// Whether mimalloc was told how to work; the first piece is asked for before there is a second thread.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// For the end of the program: what it has goes back with the process, not piece by piece before.
#[expect(
    unsafe_code,
    reason = "options of mimalloc are set by C; it reads them at any time, from any thread"
)]
pub(crate) fn keep_until_exit() {
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}

#[expect(
    unsafe_code,
    reason = "an allocator cannot be made otherwise; each call is passed on as it came, to whom the layout names"
)]
// SAFETY: a piece goes back to where it came from, since both are chosen by the size in its layout.
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !IS_SET.load(Ordering::Relaxed) {
            IS_SET.store(true, Ordering::Relaxed);
            unsafe {
                mi_option_set(ARENA_EAGER_COMMIT, 0);
                mi_option_set(ARENA_RESERVE, 32 << 10);
                if getrlimit(Resource::Data).current.is_none() {
                    // Where it fails there is less to come by, which then is asked for.
                    mi_reserve_os_memory_ex(FIRST, true, false, false, ptr::null_mut());
                }
            }
        }
        if layout.size() < LARGE {
            unsafe { MiMalloc.alloc(layout) }
        } else {
            unsafe { System.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < LARGE {
            unsafe { MiMalloc.alloc_zeroed(layout) }
        } else {
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if layout.size() < LARGE {
            unsafe { MiMalloc.dealloc(piece, layout) }
        } else {
            unsafe { System.dealloc(piece, layout) }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (layout.size() < LARGE, size < LARGE) {
            (true, true) => unsafe { MiMalloc.realloc(piece, layout, size) },
            (false, false) => unsafe { System.realloc(piece, layout, size) },
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
