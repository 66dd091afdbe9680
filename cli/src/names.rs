//! How names of hosts and users become numbers where C's library is in the program (`cli/build.rs`).

/// Hosts are looked up in `/etc/hosts` and by DNS from now on, users in `/etc/passwd`, as programs in Go do it. Whatever else
/// `/etc/nsswitch.conf` names is a library of the machine, which needs C's library of the very version that it came with.
///
/// To be called before the first look-up. Where C's library is the machine's own, all that its configuration names is used,
/// and this does nothing.
pub(crate) fn look_up_without_plugins() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if cfg!(static_libc) {
        static DONE: std::sync::Once = std::sync::Once::new();
        DONE.call_once(|| {
            for (database, services) in [(c"hosts", c"files dns"), (c"passwd", c"files")] {
                configure(database, services);
            }
        });
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "only C's library can be told so")]
fn configure(database: &std::ffi::CStr, services: &std::ffi::CStr) {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        /// `nss.h` of C's library of GNU.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    // SAFETY: both are texts that end with zero, of which it keeps copies. It knows these words, so it cannot fail.
    unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
}
