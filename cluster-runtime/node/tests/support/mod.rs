//! What the tests of this crate share.

/// Whether the test may make containers. Without root rights it says so, and fails where peers are required.
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
        "this test needs root rights"
    );
    println!("skipped: needs root rights");
    false
}
