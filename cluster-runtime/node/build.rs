//! Compiles the program of the built-in image: one file, no dependencies, linked statically, so that it runs in an
//! image that holds nothing else.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "builtin/hello.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        println!("cargo::error=cluster-node runs containers, which only Linux has");
        return;
    }
    let program = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("hello");
    let compiler = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let status = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "hello",
            "--crate-type",
            "bin",
        ])
        .arg("--target")
        .arg(env::var_os("TARGET").expect("cargo sets TARGET"))
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
        ])
        .args(["-C", "strip=symbols", "-C", "codegen-units=1", "-C", "lto=fat"])
        .arg("-o")
        .arg(&program)
        .arg(SOURCE)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => println!(
            "cargo::error=the program of the built-in image did not compile ({status}); \
             it needs the static C library (`libc.a`, on Debian in `libc6-dev`)"
        ),
        Err(error) => println!("cargo::error=cannot run the compiler: {error}"),
    }
}
