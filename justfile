# The project's commands: `just` lists them. What has logic is a script or a test, not a recipe.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the commands.
default:
    @just --list

# Everything CI asks for, and the supply chain.
check: test deny

# Format, lints and all tests; installs Postgres' programs where root may.
test *arguments:
    scripts/test {{arguments}}

# Format all files.
fmt:
    cargo fmt

# Lints as CI has them.
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Licences, bans, sources and known vulnerabilities (cargo install cargo-deny --locked).
deny:
    cargo deny --locked check

# The server, as on a developer's machine.
serve *arguments:
    cargo run --release -- serve {{arguments}}

# The main job, end to end.
demo *arguments:
    cargo run --release -- demo {{arguments}}

# What is published: the program with link-time optimisation.
dist:
    cargo build --locked --profile dist

# The container image.
image:
    docker build --tag hookwright .

# Server, Postgres and Prometheus in containers.
up:
    docker compose up --build
