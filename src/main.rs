//! The `hookwright` program; everything is in the library.

fn main() -> std::process::ExitCode {
    hookwright::cli::main()
}
