//! Tells cargo that the embedded migrations are an input of the build.
#![expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
