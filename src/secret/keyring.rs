//! The keys that seal secrets, and sealing itself (envelope encryption). `api` seals what people
//! put, `server` opens everything when it loads. The rows live in `store::secrets`.
//!
//! Every secret has a random 256-bit data key of its own, which a key-encrypting key (KEK) wraps.
//! Both are AES-256-GCM; the associated data names environment, secret, version and purpose, so
//! that a row cannot be moved to another place.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::Error;

/// The length of every key, in bytes.
const KEY_BYTES: usize = 32;
/// The longest key file, in bytes: some hundred keys.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;
/// The first byte of everything sealed: the layout that follows it.
const LAYOUT: u8 = 1;

/// What a sealed secret belongs to; it opens in the same place only.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// The environment of the database.
    pub environment: &'a str,
    /// The secret's name.
    pub name: &'a str,
    /// The secret's version, which grows with every change.
    pub version: i32,
}

/// A sealed secret, as its row keeps it. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Which key wraps the data key: the first 8 hex digits of its SHA-256.
    pub kek_id: String,
    /// The data key: layout byte, nonce, ciphertext, tag.
    pub wrapped_key: Vec<u8>,
    /// The value: layout byte, nonce, ciphertext, tag.
    pub sealed: Vec<u8>,
}

/// The key-encrypting keys of this server, oldest first, never empty. The last one seals.
pub struct Keyring {
    keks: Vec<Kek>,
}

struct Kek {
    id: String,
    key: LessSafeKey,
    /// What other keys are derived from; nothing that was sealed can be opened with it.
    seed: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// The keys of these files. A file holds base64 keys of 32 bytes, one on a line, oldest first;
    /// lines that start with `#` are remarks.
    ///
    /// # Errors
    /// [`Error::KeyFile`] where a file cannot be read or holds anything else, or no key.
    pub fn load(files: &[PathBuf]) -> Result<Self, Error> {
        let mut keks = Vec::new();
        for path in files {
            keks.extend(read(path)?);
        }
        if keks.is_empty() {
            return Err(refuse(
                Path::new("(none)"),
                "is missing: secret.key_files is empty",
            ));
        }
        Ok(Self { keks })
    }

    /// The key in `<directory>/keys/kek`, made (mode 0600, in a directory of mode 0700) where
    /// there is none. Two servers starting at once get the same one.
    ///
    /// # Errors
    /// [`Error::KeyFile`] where it can be neither read nor written.
    pub fn load_or_create(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("keys").join("kek");
        if !path.exists() {
            create(&path)
                .map_err(|error| refuse(&path, &format!("cannot be made: {}", error.kind())))?;
        }
        Self::load(&[path])
    }

    /// Identifiers of the keys, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keks.iter().map(|kek| kek.id.as_str())
    }

    /// A key for this purpose alone that follows from the newest key: the same on every node that
    /// has the same keys.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> hmac::Key {
        // `keks` is never empty.
        let seed = self.keks.last().map_or(&[][..], |kek| kek.seed.as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
        let derived = hmac::sign(&key, purpose.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
    }

    /// Seals a value under a fresh data key, wrapped by the newest key.
    ///
    /// # Errors
    /// [`Error::Unsealed`] where the system has no randomness.
    pub fn seal(&self, context: &SealContext<'_>, plain: &[u8]) -> Result<Sealed, Error> {
        let failed = || Error::Unsealed(context.name.to_owned());
        let kek = self.keks.last().ok_or_else(failed)?;
        let mut data_key = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(data_key.as_mut()).map_err(|_| failed())?;
        let wrapped_key = encrypt(&kek.key, &context.associated("data key"), data_key.as_ref());
        let key = cipher(data_key.as_ref()).ok_or_else(failed)?;
        let sealed = encrypt(&key, &context.associated("value"), plain);
        Ok(Sealed {
            kek_id: kek.id.clone(),
            wrapped_key: wrapped_key.ok_or_else(failed)?,
            sealed: sealed.ok_or_else(failed)?,
        })
    }

    /// Opens what was sealed for the same context.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`] where the key is not loaded, [`Error::Unopened`] where the row was
    /// altered or belongs elsewhere. Both name the secret and repeat no byte of it.
    pub fn open(&self, context: &SealContext<'_>, row: &Sealed) -> Result<SecretString, Error> {
        let kek = self
            .keks
            .iter()
            .find(|kek| kek.id == row.kek_id)
            .ok_or_else(|| Error::KeyUnknown {
                name: context.name.to_owned(),
                kek_id: row.kek_id.clone(),
            })?;
        let opened = || {
            let data_key = decrypt(&kek.key, &context.associated("data key"), &row.wrapped_key)?;
            let key = cipher(&data_key)?;
            let plain = decrypt(&key, &context.associated("value"), &row.sealed)?;
            std::str::from_utf8(&plain).ok().map(SecretString::from)
        };
        opened().ok_or_else(|| Error::Unopened(context.name.to_owned()))
    }
}

/// Shows identifiers only.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl SealContext<'_> {
    /// Environment, name, version and purpose, each with its length before it, so that no two
    /// contexts read the same.
    fn associated(&self, purpose: &str) -> Vec<u8> {
        let version = self.version.to_be_bytes();
        let parts = [
            self.environment.as_bytes(),
            self.name.as_bytes(),
            &version,
            purpose.as_bytes(),
        ];
        let mut out = Vec::new();
        for part in parts {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

/// Layout byte, random nonce, ciphertext and tag. Each key seals so few values (a data key one, a
/// KEK one per secret version) that random 96-bit nonces do not collide (NIST SP 800-38D §8.3).
fn encrypt(key: &LessSafeKey, associated: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0_u8; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let mut text = plain.to_vec();
    let unique = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(unique, Aad::from(associated), &mut text)
        .ok()?;
    let mut out = Vec::with_capacity(1 + NONCE_LEN + text.len());
    out.push(LAYOUT);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&text);
    Some(out)
}

fn decrypt(key: &LessSafeKey, associated: &[u8], row: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&layout, rest) = row.split_first()?;
    if layout != LAYOUT {
        return None;
    }
    let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key
        .open_in_place(nonce, Aad::from(associated), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

fn read(path: &Path) -> Result<Vec<Kek>, Error> {
    let unread = |error: std::io::Error| refuse(path, &format!("cannot be read: {}", error.kind()));
    let length = fs::metadata(path).map_err(unread)?.len();
    if length > KEY_FILE_BYTES_MAX {
        return Err(refuse(
            path,
            &format!("is longer than {KEY_FILE_BYTES_MAX} bytes"),
        ));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unread)?);
    let mut keks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let kek = kek(line).ok_or_else(|| {
            let reason = "is not a base64 key of 32 bytes; make one: openssl rand -base64 32";
            refuse(path, &format!("line {} {reason}", index + 1))
        })?;
        keks.push(kek);
    }
    if keks.is_empty() {
        return Err(refuse(
            path,
            "holds no key; make one: openssl rand -base64 32",
        ));
    }
    Ok(keks)
}

fn kek(line: &str) -> Option<Kek> {
    let bytes = Zeroizing::new(STANDARD.decode(line).ok()?);
    let id = hex::encode(&digest::digest(&digest::SHA256, &bytes).as_ref()[..4]);
    let whole = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let seed = hmac::sign(&whole, b"seed");
    Some(Kek {
        id,
        seed: Zeroizing::new(seed.as_ref().to_vec()),
        key: cipher(&bytes)?,
    })
}

/// Writes the whole key beside its place and links it there: a reader sees all of it or nothing,
/// and of two writers the first wins.
fn create(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700).create(directory)?;
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    rand::fill(key.as_mut()).map_err(|_| std::io::Error::from(ErrorKind::Other))?;
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::now_v7()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let line = Zeroizing::new(STANDARD.encode(key.as_ref()));
    let remark =
        "# Seals the secrets of this server. Without it they cannot be opened: keep a copy.";
    writeln!(file, "{remark}\n{}", line.as_str())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(directory)?.sync_all()
}

fn refuse(path: &Path, reason: &str) -> Error {
    Error::KeyFile {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}
