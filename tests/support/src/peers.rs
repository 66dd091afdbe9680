//! The programs that tests run: our own, and the real ones that it is compared with.

use std::env;
use std::path::{Path, PathBuf};

/// Set where every peer must be there, as in continuous integration.
const REQUIRE: &str = "TUG_TEST_REQUIRE_PEERS";

/// The `tug` binary of this build.
///
/// # Panics
/// When it was not built: it is with `cargo test --workspace`, or with `cargo build --bin tug`.
pub fn tug() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/PROFILE/deps");
    let tug = folder.join("tug");
    assert!(
        tug.exists(),
        "`{}` is missing: run `cargo build --bin tug`",
        tug.display()
    );
    tug
}

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A program on the path.
pub fn peer(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Daemons are where only administrators look.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Whether what is missing is a failure.
pub fn required() -> bool {
    env::var_os(REQUIRE).is_some()
}

/// Says why a test does not run.
///
/// # Panics
/// When nothing may be skipped.
#[expect(
    clippy::print_stdout,
    reason = "the output of a test is where its reader looks"
)]
pub fn skip(why: &str) {
    assert!(!required(), "{REQUIRE} is set, and {why}");
    println!("skipped: {why}");
}
