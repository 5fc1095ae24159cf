//! Finds the programs of an installed Postgres.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::store::Error;

/// The oldest major version that will do.
const VERSION_MIN: u32 = 14;

/// A directory with `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub dir: PathBuf,
    pub version: u32,
}

/// Finds binaries: of major version `wanted` where a data directory was made by it, else the
/// newest. `$PG_BIN_DIR` alone decides where it is set.
pub(super) fn find(wanted: Option<u32>) -> Result<Binaries, Error> {
    candidates()
        .into_iter()
        .filter(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
        .filter_map(|dir| {
            Some(Binaries {
                version: version(&dir)?,
                dir,
            })
        })
        .filter(|found| found.version >= VERSION_MIN)
        .filter(|found| wanted.is_none_or(|version| version == found.version))
        .max_by_key(|found| found.version)
        .ok_or_else(|| missing(wanted))
}

fn candidates() -> Vec<PathBuf> {
    if let Some(dir) = std::env::var_os("PG_BIN_DIR") {
        return vec![dir.into()];
    }
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for root in [
        "/usr/lib/postgresql",
        "/usr/libexec",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/Applications/Postgres.app/Contents/Versions",
    ] {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        dirs.extend(entries.map(|entry| entry.path().join("bin")));
    }
    dirs.push("/usr/local/pgsql/bin".into());
    dirs
}

/// The major version that `postgres -V` prints: `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(dir: &Path) -> Option<u32> {
    let output = Command::new(dir.join("postgres")).arg("-V").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace();
    words
        .filter_map(|word| {
            word.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .next()
}

fn missing(wanted: Option<u32>) -> Error {
    let what = wanted.map_or_else(
        || format!("no PostgreSQL (version {VERSION_MIN} or newer) is installed here"),
        |version| format!("the data directory needs PostgreSQL {version}, which is not installed"),
    );
    Error::Unfit(format!(
        "{what}. Either install it (Debian, Ubuntu: apt-get install -y postgresql; macOS: brew \
         install postgresql), or name its directory in PG_BIN_DIR, or set DATABASE_URL to a \
         Postgres that runs elsewhere"
    ))
}
