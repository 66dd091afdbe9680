//! How the binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Where the program lies at a fixed place, as Go's programs do, the tables of the API need no fixing up at every
    // start; that takes as long as rendering a small chart. Stack, heap and libraries keep their random places.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-link-arg-bin=tug=-no-pie");
    }
}
