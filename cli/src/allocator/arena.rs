//! An arena for commands that compute and end: pieces are cut off one region side by side, and what is given back waits
//! for the next of its size. The region goes back with the process.
//!
//! Its pages are huge where the system lets programs ask for such (`/sys/kernel/mm/transparent_hugepage/enabled`): to be
//! given memory by pages of 4 KiB was a quarter of rendering a chart. An allocator that keeps a page for each size fills
//! huge ones to a third; here all sizes lie close together.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::process::{Resource, getrlimit};

/// Bytes of the region, of which one half is for the first thread and one for all others. Only what is used of it is memory.
const REGION_SIZE: usize = 64 << 20;

/// Bytes of the porch.
const PORCH_SIZE: usize = 16 << 10;

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes that a thread takes at once, for pieces of up to a quarter of it.
const SPAN: usize = 64 << 10;

/// What the address of each piece is a multiple of.
const ALIGNMENT: usize = 16;

/// Bytes of the largest piece.
const LARGEST: usize = 8 << 20;

/// Sizes up to this one are multiples of the alignment; of those above, eight lie between a power of two and the next.
const FINE: usize = 1 << FINE_POWER;
const FINE_POWER: usize = 10;
const FINE_CLASSES: usize = FINE / ALIGNMENT;
const CLASSES: usize = FINE_CLASSES + 8 * (LARGEST.ilog2() as usize - FINE_POWER);

/// Classes from this one on are cut up again for small pieces, when there are no other.
const FIRST_CUT_UP: usize = FINE_CLASSES + 8 * 2;

/// A stretch of zeros that pieces are cut off.
struct Ground {
    start: AtomicPtr<u8>,
    size: usize,
    taken: AtomicUsize,
}

/// What there is before `main` knows which command was asked for.
static PORCH: Ground = Ground::new(PORCH_BYTES.0.get().cast(), PORCH_SIZE);

/// What there is for commands that compute and end: for the first thread, in huge pages, and for the others, in small ones.
/// Nobody waits for those that help, and a huge page is dear where a virtual machine has not had that memory before
/// (5 ms for 2 MiB were seen, where else it takes 0.1).
static FIRST: Ground = Ground::new(null_mut(), REGION_SIZE / 2);
static OTHERS: Ground = Ground::new(null_mut(), REGION_SIZE / 2);

#[repr(align(16))]
struct Bytes(UnsafeCell<[u8; PORCH_SIZE]>);

// SAFETY: no byte is given to two at the same time (`Ground::take`).
unsafe impl Sync for Bytes {}

static PORCH_BYTES: Bytes = Bytes(UnsafeCell::new([0; PORCH_SIZE]));

/// Whether pieces are to be had.
static IS_OPEN: AtomicBool = AtomicBool::new(true);

/// What a thread has: a span that it cuts pieces off, and for each class a list of pieces that were given back, each with
/// the address of the next in its first bytes.
struct Own {
    is_first: Cell<bool>,
    next: Cell<*mut u8>,
    left: Cell<usize>,
    /// Whether the rest of the span is still zeros.
    is_zeroed: Cell<bool>,
    free: [Cell<*mut u8>; CLASSES],
}

thread_local! {
    static OWN: Own = const {
        Own {
            is_first: Cell::new(false),
            next: Cell::new(null_mut()),
            left: Cell::new(0),
            is_zeroed: Cell::new(true),
            free: [const { Cell::new(null_mut()) }; CLASSES],
        }
    };
}

/// Takes the region, from which all pieces come from now on; to be called by the first thread. Where the system has none,
/// there are no pieces any more.
pub(super) fn open() {
    let Some(start) = map_region() else {
        return close();
    };
    OWN.with(|own| own.is_first.set(true));
    FIRST.start.store(start, Ordering::Release);
    OTHERS
        .start
        .store(start.wrapping_add(FIRST.size), Ordering::Release);
}

/// Gives no pieces from now on. What was given is still given back here.
pub(super) fn close() {
    IS_OPEN.store(false, Ordering::Relaxed);
}

/// Whether a piece comes from here.
#[inline]
pub(super) fn holds(piece: *const u8) -> bool {
    FIRST.holds(piece) || OTHERS.holds(piece) || PORCH.holds(piece)
}

/// A piece as large as the layout says, of zeros if asked for; null where there is none.
#[inline]
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    if !IS_OPEN.load(Ordering::Relaxed) || layout.size() > LARGEST {
        return null_mut();
    }
    if layout.align() > ALIGNMENT {
        return alloc_aligned(layout, zeroed);
    }
    let class = class_of(layout.size());
    OWN.with(|own| {
        let piece = own.take_free(class);
        if piece.is_null() {
            return own.cut(size_of(class), zeroed);
        }
        if zeroed {
            // SAFETY: a piece of this class is at least as large.
            unsafe { ptr::write_bytes(piece, 0, layout.size()) };
        }
        piece
    })
}

/// As [`alloc`], for addresses that are multiples of more: such a piece lies within a larger one, of which the rest is lost.
#[cold]
fn alloc_aligned(layout: Layout, zeroed: bool) -> *mut u8 {
    let slack = layout.align() - ALIGNMENT;
    let size = size_of(class_of(layout.size())) + slack;
    // SAFETY: the alignment is a power of two, and the size far from the largest number.
    let piece = alloc(
        unsafe { Layout::from_size_align_unchecked(size, ALIGNMENT) },
        zeroed,
    );
    if piece.is_null() {
        return piece;
    }
    piece.wrapping_add(piece.align_offset(layout.align()))
}

/// Takes a piece back.
///
/// # Safety
///
/// It comes from here, is as large as the layout says, and nobody uses it any more.
#[inline]
pub(super) unsafe fn dealloc(piece: *mut u8, layout: Layout) {
    // SAFETY: as the caller promises; a piece of this class is at least as large as its class says.
    OWN.with(|own| unsafe { own.give_back(piece, class_of(layout.size())) });
}

/// Whether a piece from here, as large as the layout says, may be used with another size where it is.
#[inline]
pub(super) fn resize(piece: *mut u8, layout: Layout, size: usize) -> bool {
    if size > LARGEST {
        return false;
    }
    let old = size_of(class_of(layout.size()));
    let new = size_of(class_of(size));
    if new <= old {
        // What is cut off by much would be lost.
        return new > old / 2;
    }
    let end = piece.wrapping_add(old);
    OWN.with(|own| own.extend(end, new - old) || own.ground().extend(end, new - old))
}

impl Own {
    /// A piece of the span.
    #[inline]
    fn cut(&self, size: usize, zeroed: bool) -> *mut u8 {
        if self.left.get() < size {
            if size > SPAN / 4 {
                return self
                    .ground()
                    .take(size, size)
                    .map_or(null_mut(), |(piece, _)| piece);
            }
            if !self.take_span(size) {
                return null_mut();
            }
        }
        let piece = self.next.get();
        self.next.set(piece.wrapping_add(size));
        self.left.set(self.left.get() - size);
        if zeroed && !self.is_zeroed.get() {
            // SAFETY: it is as large and nobody's yet.
            unsafe { ptr::write_bytes(piece, 0, size) };
        }
        piece
    }

    /// Takes another span, of at least `least` bytes: a large piece that was given back, or one of the region.
    #[cold]
    fn take_span(&self, least: usize) -> bool {
        // What is left of the last one fits something smaller.
        let (rest, left) = (self.next.get(), self.left.replace(0));
        if left >= ALIGNMENT {
            let class = class_of(left);
            let class = if size_of(class) > left { class - 1 } else { class };
            // SAFETY: it is nobody's, and at least as large.
            unsafe { self.give_back(rest, class) };
        }
        let fit = class_of(least).max(FIRST_CUT_UP);
        let used = (fit..CLASSES).find(|class| !self.free[*class].get().is_null());
        let (start, size) = if let Some(class) = used {
            (self.take_free(class), size_of(class))
        } else if let Some(span) = PORCH
            .take(least, SPAN)
            .or_else(|| self.ground().take(least, SPAN))
        {
            span
        } else {
            return false;
        };
        self.next.set(start);
        self.left.set(size);
        self.is_zeroed.set(used.is_none());
        true
    }

    /// Where it takes its spans.
    fn ground(&self) -> &'static Ground {
        if self.is_first.get() { &FIRST } else { &OTHERS }
    }

    /// Makes the piece larger that ends here, if it is the last of the span and the span is long enough.
    fn extend(&self, end: *mut u8, by: usize) -> bool {
        let can = self.next.get() == end && self.left.get() >= by;
        if can {
            self.next.set(end.wrapping_add(by));
            self.left.set(self.left.get() - by);
        }
        can
    }

    /// The piece of a class that was given back last; null where there is none.
    #[inline]
    fn take_free(&self, class: usize) -> *mut u8 {
        let piece = self.free[class].get();
        if !piece.is_null() {
            // SAFETY: what is in the list was given back, is large enough for an address, and holds that of the next.
            self.free[class].set(unsafe { piece.cast::<*mut u8>().read() });
        }
        piece
    }

    /// # Safety
    ///
    /// The piece is nobody's, and at least as large as its class says.
    unsafe fn give_back(&self, piece: *mut u8, class: usize) {
        // SAFETY: every class is large enough for an address, and every piece lies as an address must.
        unsafe { piece.cast::<*mut u8>().write(self.free[class].get()) };
        self.free[class].set(piece);
    }
}

impl Ground {
    const fn new(start: *mut u8, size: usize) -> Self {
        Self {
            start: AtomicPtr::new(start),
            size,
            taken: AtomicUsize::new(0),
        }
    }

    fn holds(&self, piece: *const u8) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        !start.is_null() && piece.addr().wrapping_sub(start.addr()) < self.size
    }

    /// Takes `most` bytes, or what is left, but at least `least`: where they begin, and how many.
    fn take(&self, least: usize, most: usize) -> Option<(*mut u8, usize)> {
        let start = self.start.load(Ordering::Acquire);
        if start.is_null() {
            return None;
        }
        let mut given = 0;
        let more = |taken: usize| {
            given = most.min(self.size - taken);
            (given >= least).then_some(taken + given)
        };
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some((start.wrapping_add(taken), given))
    }

    /// Makes the piece larger that ends here, if nothing was taken after it.
    fn extend(&self, end: *const u8, by: usize) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        let taken = end.addr().wrapping_sub(start.addr());
        if start.is_null() || taken > self.size || self.size - taken < by {
            return false;
        }
        self.taken
            .compare_exchange(taken, taken + by, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// The class of the pieces that are at least this large, in bytes, and at most a ninth larger or 15 bytes.
#[inline]
const fn class_of(size: usize) -> usize {
    if size <= FINE {
        return size.saturating_sub(1) / ALIGNMENT;
    }
    let last = size - 1;
    let power = last.ilog2() as usize;
    FINE_CLASSES + 8 * (power - FINE_POWER) + ((last >> (power - 3)) & 7)
}

/// How large the pieces of a class are, in bytes.
#[inline]
const fn size_of(class: usize) -> usize {
    if class < FINE_CLASSES {
        return (class + 1) * ALIGNMENT;
    }
    let class = class - FINE_CLASSES;
    (class % 8 + 9) << (class / 8 + FINE_POWER - 3)
}

/// Asks the system for the region: its start, which is that of a huge page. `None` also where memory is limited (`ulimit -d`
/// and `-v`): there all of the region would count, used or not.
fn map_region() -> Option<*mut u8> {
    let is_limited = |what| getrlimit(what).current.is_some();
    if is_limited(Resource::Data) || is_limited(Resource::As) {
        return None;
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let whole = REGION_SIZE + HUGE_PAGE;
    // SAFETY: the system chooses where, and gives what is nobody's.
    let mapped = unsafe { mmap_anonymous(null_mut(), whole, protection, flags) }.ok()?;
    let mapped = mapped.cast::<u8>();
    let before = mapped.align_offset(HUGE_PAGE);
    let start = mapped.wrapping_add(before);
    // Without huge pages it is slower.
    // SAFETY: it lies within what was given.
    let _ = unsafe { madvise(start.cast(), FIRST.size, Advice::LinuxHugepage) };
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_least_that_is_large_enough() {
        for size in 1..=LARGEST {
            let class = class_of(size);
            assert!(size_of(class) >= size, "{size}");
            assert!(class == 0 || size_of(class - 1) < size, "{size}");
            assert!(size_of(class).is_multiple_of(ALIGNMENT), "{size}");
        }
        assert_eq!(class_of(LARGEST), CLASSES - 1);
    }
}
