//! Giving a filter to the kernel, for this thread and all that follows.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities};

use super::filter::{Filter, Instruction};

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// Puts a filter on this thread, and then gives up capabilities that were only kept to do so.
///
/// Without "no new privileges" the kernel asks for the right to administer; the container gets it for this moment.
pub(crate) fn install(filter: &Filter, borrowed: &[String]) -> io::Result<()> {
    let borrowed = set_of(borrowed);
    // First, while there is the right to do so.
    for one in borrowed.iter() {
        remove_capability_from_bounding_set(one)?;
    }
    put(filter)?;
    if !borrowed.is_empty() {
        let mut sets = capabilities(None)?;
        sets.effective -= borrowed;
        sets.permitted -= borrowed;
        sets.inheritable -= borrowed;
        set_capabilities(None, sets)?;
    }
    Ok(())
}

fn set_of(names: &[String]) -> CapabilitySet {
    let mut set = CapabilitySet::empty();
    for name in names {
        set |= match name.as_str() {
            "CAP_SYS_ADMIN" => CapabilitySet::SYS_ADMIN,
            "CAP_SETPCAP" => CapabilitySet::SETPCAP,
            _ => CapabilitySet::empty(),
        };
    }
    set
}

#[expect(unsafe_code, reason = "no library that is here has this system call")]
fn put(filter: &Filter) -> io::Result<()> {
    let program = Program {
        length: u16::try_from(filter.len()).map_err(io::Error::other)?,
        instructions: filter.as_ptr(),
    };
    let pointer: *const Program = &raw const program;
    // SAFETY: the program and its instructions live until the call returns, and the kernel only reads them.
    let outcome =
        unsafe { nix::libc::syscall(nix::libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0_u32, pointer) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
