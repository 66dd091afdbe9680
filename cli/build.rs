//! How the binary is linked, and the charts that we ship put into it: a list of their files, as Rust text.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `st_blocks` counts in, whatever the blocks of the filesystem are (`stat(2)`).
const BYTES_PER_BLOCK: u64 = 512;

/// A program to try the linker with.
const PRINT_VERSION: &str = r#"
    unsafe extern "C" { safe fn gnu_get_libc_version() -> *const std::ffi::c_char; }
    fn main() { print!("{}", unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) }.to_str().unwrap()) }
"#;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Where the program lies at a fixed place, as Go's programs do, the tables of the API need no fixing up at every
        // start; that takes as long as rendering a small chart. Stack, heap and libraries keep their random places.
        link_with("-no-pie");
        println!("cargo::rustc-check-cfg=cfg(static_libc)");
        if is_own() {
            link_statically();
            order_functions();
        }
    }
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let charts = Path::new(&manifest).join("../charts");
    println!("cargo::rerun-if-changed={}", charts.display());
    let mut text = String::from("&[\n");
    for chart in entries(&charts) {
        if !chart.join("Chart.yaml").is_file() {
            continue;
        }
        text.push_str("    &[\n");
        add(&chart, &chart, &mut text);
        text.push_str("    ],\n");
    }
    text.push(']');
    let out = std::env::var_os("OUT_DIR").expect("cargo says where to write");
    fs::write(Path::new(&out).join("bundled_charts.rs"), text).expect("the folder of outputs can be written");
}

fn is_release() -> bool {
    std::env::var("PROFILE").as_deref() == Ok("release")
}

fn link_with(option: &str) {
    println!("cargo::rustc-link-arg-bin=tug={option}");
}

/// Whether the program is made for the machine that makes it, and for C's library of GNU: else what is tried out here says
/// nothing about it.
fn is_own() -> bool {
    std::env::var_os("HOST") == std::env::var_os("TARGET")
        && std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu")
}

/// Puts C's library into the program, which then needs nothing of the machine but its kernel, as a program in Go does.
///
/// To load the library with each start takes a seventh of rendering a small chart. Where the compiler of C does not have it
/// in this form (with some distributions it is a package of its own), it is loaded. So it is where the library is older than
/// 2.34: names of hosts are looked up by further libraries there, which must be of the same version. And so it is in builds
/// that are no release, for tests that give it a wrong clock by a library between.
fn link_statically() {
    if !is_release() {
        return;
    }
    let Some(folder) = static_libraries() else { return };
    let options = [format!("-L{}", folder.display()), "-static".to_owned()];
    let Some(program) = linked_with(&options) else {
        return;
    };
    if is_recent(&program).unwrap_or(false) {
        println!("cargo::rustc-cfg=static_libc");
        options.iter().for_each(|option| link_with(option));
    }
}

/// Whether the library of C in this program of [`linked_with`] looks up names by itself.
fn is_recent(program: &Path) -> Option<bool> {
    let said = Command::new(program).output().ok()?;
    let version = String::from_utf8(said.stdout).ok()?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    Some((numbers.next()??, numbers.next()??) >= (2, 34))
}

/// A folder that has, by each name that Rust's compiler tells the linker for C's library, the form to be put into a program.
/// In the folders of the system the linker would find the other form first.
fn static_libraries() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR")?).join("static");
    fs::create_dir_all(&folder).ok()?;
    for (name, archive) in [
        ("c", "libc.a"),
        ("dl", "libdl.a"),
        ("gcc_s", "libgcc_eh.a"),
        ("m", "libm.a"),
        ("pthread", "libpthread.a"),
        ("rt", "librt.a"),
        ("util", "libutil.a"),
    ] {
        let link = folder.join(format!("lib{name}.a"));
        // There is one of an earlier build, or none.
        let _ = fs::remove_file(&link);
        symlink(static_library(archive)?, link).ok()?;
    }
    Some(folder)
}

/// Where the compiler of C has a library.
fn static_library(archive: &str) -> Option<PathBuf> {
    let asked = Command::new("cc")
        .arg(format!("-print-file-name={archive}"))
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // The name alone comes back where there is none.
    path.is_absolute().then_some(path)
}

/// Puts the functions side by side that commands which compute and end call.
///
/// Of a program of 60 MB they are 2, spread over all of it: to fetch them page by page takes a quarter of rendering a small
/// chart, and a third of its memory. `scripts/order-functions.sh` makes the list; names in it that are gone do no harm.
fn order_functions() {
    println!("cargo::rerun-if-changed=functions.order");
    println!("cargo::rerun-if-env-changed=TUG_KEEP_SYMBOLS");
    if std::env::var_os("TUG_KEEP_SYMBOLS").is_some() {
        // As the last word on it; by a flag of the compiler they would be other names.
        link_with("-Wl,--strip-debug");
    }
    if !is_release() {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let options = [
        format!("-Wl,--symbol-ordering-file={folder}/functions.order"),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    // Not every linker can do it.
    if linked_with(&options).is_some() {
        options.iter().for_each(|option| link_with(option));
        if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
            write_at_once();
        }
    }
}

/// Has the linker write the program in one go, not page by page through memory that is the file.
///
/// What is written in one go lies in large folios of the page cache, where the filesystem knows them, and the kernel maps
/// sixteen pages of such a folio in the time of one: a small chart takes a seventh less. What the kernel has dropped since is
/// read again so for `tug_entry` (`src/start.rs`).
fn write_at_once() {
    // Since LLD 21 the names mean the opposite of what they say (issue 207459 of LLVM): it is tried out.
    let options = ["-Wl,--no-mmap-output-file", "-Wl,--mmap-output-file"];
    let Some(option) = options.into_iter().find(|option| leaves_no_hole(option)) else {
        return;
    };
    link_with(option);
    // A folio of 2 MiB that lies at a multiple of 2 MiB would be mapped, and counted, as a whole: three times the memory.
    link_with("-Wl,--image-base=0x201000");
    link_with("-Wl,-e,tug_entry");
}

/// Whether a file that is linked so has all its blocks. One that was memory has none for the room between segments, which
/// nobody touched.
fn leaves_no_hole(option: &str) -> bool {
    let with_room = [
        "-Wl,-z,max-page-size=2097152",
        "-Wl,-z,separate-loadable-segments",
        option,
    ];
    linked_with(&with_room.map(str::to_owned))
        .and_then(|program| fs::metadata(program).ok())
        .is_some_and(|file| file.blocks() * BYTES_PER_BLOCK >= file.len())
}

/// A program that says which version of C's library it has, linked as ours and with these options, by the linker that will be
/// used; `None` where it does not take them.
fn linked_with(options: &[String]) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR")?);
    let source = folder.join("version.rs");
    let program = folder.join("version");
    fs::write(&source, PRINT_VERSION).ok()?;
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linker = std::env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    let tried = Command::new(std::env::var_os("RUSTC")?)
        .arg("--edition=2024")
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(linker)
        .arg("-Clink-arg=-no-pie")
        .args(options.iter().map(|option| format!("-Clink-arg={option}")))
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .ok()?;
    tried.status.success().then_some(program)
}

/// Adds the files below a folder.
fn add(chart: &Path, folder: &Path, text: &mut String) {
    for path in entries(folder) {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            add(chart, &path, text);
            continue;
        }
        let name = path.strip_prefix(chart).expect("it is below");
        let full = fs::canonicalize(&path).expect("it exists");
        writeln!(
            text,
            "        ({:?}, include_bytes!({:?})),",
            name.display().to_string(),
            full
        )
        .expect("a text grows");
    }
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).expect("the folder of charts is there");
    let mut paths: Vec<PathBuf> = list.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths
}
