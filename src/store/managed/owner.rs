//! Whom Postgres runs as. It refuses to run as root, so a server run as root hands it to another
//! user, who must be able to reach the data.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::unistd::{Uid, User};

use super::cannot;
use crate::store::Error;

/// The user and group Postgres runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Where no `nobody` is known.
const NOBODY: Owner = Owner {
    uid: 65_534,
    gid: 65_534,
};

/// Who owns the data: nobody in particular unless we are root; then the owner of an existing
/// data directory, else `postgres`, else `nobody`.
pub(super) fn of(data: &Path) -> Option<Owner> {
    if !Uid::effective().is_root() {
        return None;
    }
    let existing = std::fs::metadata(data.join("PG_VERSION")).ok();
    if let Some(file) = existing.filter(|file| file.uid() != 0) {
        return Some(Owner {
            uid: file.uid(),
            gid: file.gid(),
        });
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Owner {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        });
    Some(user.unwrap_or(NOBODY))
}

/// Creates a directory that only the owner can enter.
pub(super) fn create_private(dir: &Path, owner: Option<Owner>) -> Result<(), Error> {
    let create = || {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        owner.map_or(Ok(()), |owner| chown(dir, Some(owner.uid), Some(owner.gid)))
    };
    create().map_err(|cause| cannot("prepare", dir, &cause))
}

/// Checks that the user Postgres will run as can pass every directory above `dir`.
pub(super) fn check_reachable(dir: &Path) -> Result<(), Error> {
    let Some(owner) = of(&dir.join("pg")) else {
        return Ok(());
    };
    let closed = dir
        .ancestors()
        .find(|parent| std::fs::metadata(parent).is_ok_and(|entry| !passable(&entry, owner)));
    let Some(closed) = closed else { return Ok(()) };
    Err(Error::Unfit(format!(
        "the server runs as root, which Postgres refuses, and the user it runs as instead (uid {}) \
         cannot enter {}: choose --data-dir {}, run the server as an ordinary user, or set \
         DATABASE_URL",
        owner.uid,
        closed.display(),
        super::FALLBACK_DIR,
    )))
}

fn passable(entry: &std::fs::Metadata, owner: Owner) -> bool {
    let needed = if entry.uid() == owner.uid {
        0o100
    } else if entry.gid() == owner.gid {
        0o010
    } else {
        0o001
    };
    entry.mode() & needed != 0
}
