//! The `hookwright` program; everything is in the library.

/// A quarter of the work of the hot path is small allocations on several threads, which the
/// system's allocator makes slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hookwright::cli::main()
}
