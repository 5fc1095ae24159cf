//! All secret values known now, and what is needed to hide them. `server` owns one and refills it
//! when sealed secrets change; `signature`, `call` and `run` resolve through it. It does not open
//! sealed rows (`Keyring` does) and never writes anywhere.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use super::{Config, Error, Redactor, Reference, VALUE_BYTES_MIN};

/// The longest secret file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How many values are looked for in outputs; beyond it the longest known is forgotten.
pub const TRACKED_MAX: usize = 10_000;

/// How many passing values (access tokens) are looked for in outputs, the newest.
pub const PASSING_MAX: usize = 1_000;

/// All secrets known now: sealed ones from the database (opened), environment and files on demand.
#[derive(Default)]
pub struct Secrets {
    config: Config,
    /// References without a value stand for themselves, and nothing of this machine is read.
    rehearsed: bool,
    sealed: ArcSwap<HashMap<String, SecretString>>,
    files: Mutex<HashMap<String, Read>>,
    tracked: Mutex<Tracked>,
    redactor: ArcSwap<Redactor>,
}

/// A file as it was when last read.
struct Read {
    stamp: (Option<SystemTime>, u64),
    value: SecretString,
}

/// Values handed out, in the order they became known.
#[derive(Default)]
struct Tracked {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
    /// Values that are replaced often; they push out each other only.
    passing: VecDeque<Arc<str>>,
}

impl Secrets {
    /// These sealed secrets; any file and variable may be referred to. For tests and commands.
    #[must_use]
    pub fn new(sealed: HashMap<String, SecretString>) -> Self {
        Self::configured(sealed, Config::default())
    }

    /// These sealed secrets; files and variables as the settings allow.
    #[must_use]
    pub fn configured(sealed: HashMap<String, SecretString>, config: Config) -> Self {
        let secrets = Self {
            config,
            ..Self::default()
        };
        secrets.replace(sealed);
        secrets
    }

    /// These values by name, for rehearsals, which must not depend on the machine they are on: a
    /// reference that has none stands for itself, such as `secret crm.token` or `env KEY`.
    #[must_use]
    pub fn rehearsed(values: HashMap<String, SecretString>) -> Self {
        let secrets = Self {
            rehearsed: true,
            ..Self::default()
        };
        secrets.replace(values);
        secrets
    }

    /// Takes these sealed secrets in place of the present ones. Values that were live stay hidden
    /// in outputs: calls under way may still hold them.
    pub fn replace(&self, sealed: HashMap<String, SecretString>) {
        let mut values = Vec::new();
        for value in sealed.values() {
            values.push(value.expose_secret().to_owned());
            if let Ok(json) = serde_json::from_str(value.expose_secret()) {
                texts(json, &mut values);
            }
        }
        self.sealed.store(Arc::new(sealed));
        self.track(values);
    }

    /// The value behind a reference, `None` where it has none; [`Self::try_resolve`] says why.
    #[must_use]
    pub fn resolve(&self, reference: &Reference) -> Option<SecretString> {
        self.try_resolve(reference).ok()
    }

    /// The value behind a reference, never empty.
    ///
    /// # Errors
    /// [`Error`] with what is missing and what to do; it names the place, never a value.
    pub fn try_resolve(&self, reference: &Reference) -> Result<SecretString, Error> {
        if self.rehearsed {
            return Ok(self.stand_in(reference));
        }
        match reference {
            Reference::Env(name) => self.variable(name),
            Reference::File(path) => self.file(path),
            Reference::Sealed { name, member } => self.sealed(name, member.as_deref()),
        }
    }

    /// `$secrets.<name>`: a sealed secret, else the variable `HOOKWRIGHT_SECRET_<NAME>` (upper
    /// case, other characters as `_`). The text as it is; the caller reads it as JSON where it is
    /// an object.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<SecretString> {
        if let Ok(value) = self.sealed(name, None) {
            return Some(value);
        }
        if self.rehearsed {
            return None;
        }
        let upper: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        let value = variable(&format!("HOOKWRIGHT_SECRET_{upper}"))?;
        let mut values = vec![value.clone()];
        if let Ok(json) = serde_json::from_str(&value) {
            texts(json, &mut values);
        }
        self.track(values);
        Some(value.into())
    }

    /// The redactor for every value known now. Cheap; ask again for each text, since values
    /// become known as they are used.
    #[must_use]
    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor.load_full()
    }

    fn stand_in(&self, reference: &Reference) -> SecretString {
        let text = reference.to_string();
        let value = match reference {
            Reference::Sealed { name, member } => self.sealed(name, member.as_deref()).ok(),
            Reference::Env(_) | Reference::File(_) => self.sealed(&text, None).ok(),
        };
        value.unwrap_or_else(|| {
            self.track([text.clone()]);
            text.into()
        })
    }

    /// Hides a value in outputs that is no secret of definitions and is soon replaced, such as an
    /// access token; the newest [`PASSING_MAX`] of them.
    pub fn hide(&self, value: &SecretString) {
        let value = value.expose_secret();
        if value.len() < VALUE_BYTES_MIN {
            return;
        }
        let mut tracked = lock(&self.tracked);
        if tracked.passing.iter().any(|known| **known == *value) {
            return;
        }
        tracked.passing.push_back(value.into());
        if tracked.passing.len() > PASSING_MAX {
            tracked.passing.pop_front();
        }
        self.rebuild(&tracked);
    }

    fn variable(&self, name: &str) -> Result<SecretString, Error> {
        let refused = self.config.env_refused.iter().any(|pattern| {
            pattern
                .strip_suffix('*')
                .map_or(pattern == name, |prefix| name.starts_with(prefix))
        });
        if refused {
            return Err(Error::VariableRefused(name.to_owned()));
        }
        let value = variable(name).ok_or_else(|| Error::Variable(name.to_owned()))?;
        self.track([value.clone()]);
        Ok(value.into())
    }

    fn sealed(&self, name: &str, member: Option<&str>) -> Result<SecretString, Error> {
        let sealed = self.sealed.load();
        let value = sealed
            .get(name)
            .ok_or_else(|| Error::Unknown(name.to_owned()))?;
        let Some(member) = member else {
            return match value.expose_secret() {
                "" => Err(Error::Unknown(name.to_owned())),
                _ => Ok(value.clone()),
            };
        };
        let object: Option<HashMap<String, serde_json::Value>> =
            serde_json::from_str(value.expose_secret()).ok();
        match object
            .as_ref()
            .and_then(|object| object.get(member)?.as_str())
        {
            Some(text) if !text.is_empty() => Ok(text.into()),
            _ => Err(Error::Member {
                name: name.to_owned(),
                member: member.to_owned(),
            }),
        }
    }

    fn file(&self, path: &str) -> Result<SecretString, Error> {
        let refuse = |reason: String| Error::File {
            path: path.to_owned(),
            reason,
        };
        let unread = |error: std::io::Error| refuse(format!("cannot be read: {}", error.kind()));
        let real = Path::new(path).canonicalize().map_err(unread)?;
        if !self.may_read(&real) {
            return Err(refuse(
                "is not below a directory of secret.files_under".to_owned(),
            ));
        }
        let metadata = real.metadata().map_err(unread)?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(refuse(format!(
                "is not a file of at most {FILE_BYTES_MAX} bytes"
            )));
        }
        let stamp = (metadata.modified().ok(), metadata.len());
        if let Some(read) = lock(&self.files)
            .get(path)
            .filter(|read| read.stamp == stamp)
        {
            return Ok(read.value.clone());
        }
        let text = std::fs::read(&real).map_err(unread)?;
        let text = String::from_utf8(text).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        let value = value.strip_suffix('\r').unwrap_or(value);
        if value.is_empty() {
            return Err(refuse("is empty".to_owned()));
        }
        self.track([value.to_owned()]);
        let value = SecretString::from(value);
        // One entry for each path that definitions name: bounded by them.
        lock(&self.files).insert(
            path.to_owned(),
            Read {
                stamp,
                value: value.clone(),
            },
        );
        Ok(value)
    }

    /// Both sides are followed to where they really are, so that `..` and links lead nowhere. The
    /// keys that seal secrets are no secrets of definitions, wherever they lie.
    fn may_read(&self, real: &Path) -> bool {
        let real_path = |path: &PathBuf| path.canonicalize().ok();
        let Config {
            key_files,
            files_under,
            ..
        } = &self.config;
        let is_key = key_files
            .iter()
            .filter_map(real_path)
            .any(|key| key == real);
        let mut allowed = files_under.iter().filter_map(real_path);
        !is_key && (files_under.is_empty() || allowed.any(|below| real.starts_with(below)))
    }

    /// Makes values known to the redactor. Rebuilds it only where one is new.
    fn track(&self, values: impl IntoIterator<Item = String>) {
        let mut tracked = lock(&self.tracked);
        let mut changed = false;
        for value in values {
            if value.len() >= VALUE_BYTES_MIN && !tracked.known.contains(value.as_str()) {
                let value: Arc<str> = value.into();
                tracked.known.insert(Arc::clone(&value));
                tracked.order.push_back(value);
                changed = true;
            }
        }
        while tracked.order.len() > TRACKED_MAX {
            if let Some(oldest) = tracked.order.pop_front() {
                tracked.known.remove(&oldest);
            }
        }
        if changed {
            self.rebuild(&tracked);
        }
    }

    fn rebuild(&self, tracked: &Tracked) {
        let values = tracked.order.iter().chain(&tracked.passing);
        let redactor = Redactor::new(values.map(AsRef::as_ref));
        self.redactor.store(Arc::new(redactor));
    }
}

/// Shows no value.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("sealed", &self.sealed.load().len())
            .finish()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every text inside a JSON object or array. serde_json bounds the depth to 128.
fn texts(json: serde_json::Value, out: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => out.push(text),
        serde_json::Value::Array(items) => items.into_iter().for_each(|item| texts(item, out)),
        serde_json::Value::Object(members) => {
            members
                .into_iter()
                .for_each(|(_, member)| texts(member, out));
        }
        _ => {}
    }
}

/// A panic elsewhere leaves these maps whole: each change is one insert.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
