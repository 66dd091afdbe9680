//! The first and the last steps of the process, with C's library of GNU on Linux.
//!
//! Rust's own start reads `/proc/self/maps` and makes a stack for signals, to tell a stack overflow from other faults; its
//! end gives that back. Both take a twentieth of rendering a small chart. Here a stack overflow is a segmentation fault like
//! others; what nests in charts, values and arguments is limited long before.

#![expect(
    unsafe_code,
    reason = "the process begins and ends in C, and its first three files have numbers only"
)]

use std::ffi::{c_char, c_int};
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_getfd};

/// What Rust's start gives for a panic.
const PANICKED: u8 = 101;

/// Where the process begins, before C's library: has the kernel read the program in pieces of 2 MiB wherever it is not in
/// memory yet.
///
/// They lie in large folios of the page cache then, of which sixteen pages are mapped in the time of one: a small chart
/// takes a seventh less. A piece is read so only if no page of it has been read otherwise. Hence it is done as the first
/// step, and from a section of its own, far from the functions that are used.
///
/// # Safety
///
/// It is called once, by the kernel or the dynamic loader, and goes on as `_start` would have begun.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".tug_entry")]
unsafe extern "C" fn tug_entry() -> ! {
    std::arch::naked_asm!(
        // What the loader wants to be called at the end.
        "push rdx",
        "mov eax, {madvise}",
        "lea rdi, [rip + __executable_start]",
        "lea rsi, [rip + edata]",
        "sub rsi, rdi",
        "mov edx, {in_large_pieces}",
        // It is only advice: what it answers does not matter.
        "syscall",
        "pop rdx",
        "jmp _start",
        madvise = const libc::SYS_madvise,
        in_large_pieces = const libc::MADV_HUGEPAGE,
    )
}

/// Called by C's library, which has given the arguments to Rust's standard library before.
///
/// # Safety
///
/// It is called once, before there is a second thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    open_standard_files();
    // A pipe that nobody reads any more is an error of writing (exit code 141), as in any program in Rust.
    // SAFETY: nobody else handles signals yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let code = std::panic::catch_unwind(crate::run).unwrap_or(PANICKED);
    // Nobody is left who could be told that it fails.
    let _ = std::io::stdout().flush();
    // What C's libraries would do at the end is of no use to a process that is over.
    // SAFETY: it ends the process, whatever other threads do.
    unsafe { libc::_exit(code.into()) }
}

/// Makes sure that input, output and errors are open: the next file to be opened would get the number of one that is not,
/// and be written to by mistake.
fn open_standard_files() {
    for number in 0..3 {
        // SAFETY: it is only asked for.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(file) == Err(Errno::BADF)
            && let Ok(nothing) = open("/dev/null", OFlags::RDWR, Mode::empty())
        {
            // It has that number, and stays open.
            std::mem::forget(nothing);
        }
    }
}
