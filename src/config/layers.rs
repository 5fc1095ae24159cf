//! The layers and how they merge: default text, files, variables, flags; a later one wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::Error;
use super::value::{fits, kind, nearest, read};

/// Variables that start so are configuration: `HOOKWRIGHT__HTTP__LISTEN` is `http.listen`.
pub const VARIABLE_PREFIX: &str = "HOOKWRIGHT__";

/// Configuration as merged so far, and where each value came from.
///
/// A key exists if the default text names it; a section that is empty there takes any key.
#[derive(Clone, Debug)]
pub struct Layers {
    default: Table,
    merged: Table,
    /// Dotted path of each value that is not the default, and its layer.
    origins: BTreeMap<String, String>,
}

impl Layers {
    /// The first layer: names every key and gives its type and value.
    ///
    /// # Errors
    /// [`Error::Syntax`] where the text is not TOML.
    pub fn new(default: &str) -> Result<Self, Error> {
        let default = parse("the default configuration", default)?;
        Ok(Self {
            merged: default.clone(),
            default,
            origins: BTreeMap::new(),
        })
    }

    /// Lays a TOML text over what there is; `layer` names it in messages.
    ///
    /// # Errors
    /// [`Error`] where it is not TOML, has a key nobody knows or a value of another type.
    pub fn text(mut self, layer: &str, text: &str) -> Result<Self, Error> {
        let table = parse(layer, text)?;
        let mut place = Place {
            layer,
            path: String::new(),
            origins: &mut self.origins,
        };
        place.merge(&self.default, &mut self.merged, table)?;
        Ok(self)
    }

    /// Lays a file over what there is.
    ///
    /// # Errors
    /// [`Error`] where it cannot be read, and as [`Self::text`].
    pub fn file(self, path: &Path) -> Result<Self, Error> {
        let layer = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&layer, &text),
            Err(source) => Err(Error::Unreadable { layer, source }),
        }
    }

    /// Lays the variables that start with [`VARIABLE_PREFIX`] over what there is; others are not
    /// looked at. Takes what `std::env::vars_os` gives, so that tests need not change the process.
    ///
    /// # Errors
    /// [`Error`] naming the variable, as [`Self::text`], also where it is not UTF-8.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Error> {
        for (name, text) in variables {
            // Ours are ASCII: a name that is not UTF-8 is another's.
            let Ok(name) = name.into().into_string() else {
                continue;
            };
            let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            let key = rest.to_ascii_lowercase().replace("__", ".");
            let layer = format!("the variable {name}");
            let Ok(text) = text.into().into_string() else {
                let message = "it is not UTF-8".to_owned();
                return Err(Error::Refused {
                    layer,
                    key,
                    message,
                });
            };
            let value = read(&text, find(&self.default, &key));
            self = self.laid(&layer, &key, value)?;
        }
        Ok(self)
    }

    /// Lays one value over what there is, such as a command line flag: `layer` names the flag,
    /// `key` is the dotted path.
    ///
    /// # Errors
    /// [`Error`] naming the flag, as [`Self::text`].
    pub fn set(self, layer: &str, key: &str, value: impl Into<Value>) -> Result<Self, Error> {
        self.laid(layer, key, value.into())
    }

    /// One section as its module's type.
    ///
    /// # Errors
    /// [`Error::Refused`] where the type does not take a value, with the layer it came from.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let section = self.merged.get(name).cloned();
        let section = section.unwrap_or_else(|| Value::Table(Table::new()));
        section
            .try_into()
            .map_err(|error| self.refused(name, &error))
    }

    /// Everything as one type with a member for each section.
    ///
    /// # Errors
    /// As [`Self::section`].
    pub fn load<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.merged
            .clone()
            .try_into()
            .map_err(|error| self.refused("", &error))
    }

    fn laid(mut self, layer: &str, key: &str, value: Value) -> Result<Self, Error> {
        let mut table = Table::new();
        let mut parts = key.rsplit('.');
        table.insert(parts.next().unwrap_or_default().to_owned(), value);
        for part in parts {
            table = Table::from_iter([(part.to_owned(), Value::Table(table))]);
        }
        let mut place = Place {
            layer,
            path: String::new(),
            origins: &mut self.origins,
        };
        place.merge(&self.default, &mut self.merged, table)?;
        Ok(self)
    }

    /// The parser of a section says where it stopped as a last line "in `key.path`".
    fn refused(&self, section: &str, error: &toml::de::Error) -> Error {
        let text = error.to_string();
        let inner = text
            .lines()
            .find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
        let key = match (section, inner) {
            ("", None) => "the configuration".to_owned(),
            ("", Some(inner)) => inner.to_owned(),
            (section, None) => section.to_owned(),
            (section, Some(inner)) => format!("{section}.{inner}"),
        };
        let layer = self
            .origins
            .get(&key)
            .map_or("the default configuration", String::as_str);
        Error::Refused {
            layer: layer.to_owned(),
            message: error.message().to_owned(),
            key,
        }
    }
}

/// Where a merge is at.
struct Place<'a> {
    layer: &'a str,
    path: String,
    origins: &'a mut BTreeMap<String, String>,
}

impl Place<'_> {
    fn merge(&mut self, default: &Table, merged: &mut Table, from: Table) -> Result<(), Error> {
        let open = default.is_empty() && !self.path.is_empty();
        for (key, value) in from {
            let path = match self.path.as_str() {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            match default.get(&key) {
                _ if open => self.put(&path, merged, key, value),
                None => return Err(self.unknown(default, &key, path)),
                Some(known) if !fits(&value, known) => {
                    return Err(Error::Type {
                        layer: self.layer.to_owned(),
                        key: path,
                        expected: kind(known),
                        found: kind(&value),
                    });
                }
                Some(known) => self.enter(known, merged, (key, path), value)?,
            }
        }
        Ok(())
    }

    /// A section is merged member by member, anything else replaced.
    fn enter(
        &mut self,
        known: &Value,
        merged: &mut Table,
        (key, path): (String, String),
        value: Value,
    ) -> Result<(), Error> {
        match (known, merged.get_mut(&key), value) {
            (Value::Table(known), Some(Value::Table(into)), Value::Table(from)) => {
                let outer = std::mem::replace(&mut self.path, path);
                let result = self.merge(known, into, from);
                self.path = outer;
                result
            }
            (_, _, value) => {
                self.put(&path, merged, key, value);
                Ok(())
            }
        }
    }

    fn put(&mut self, path: &str, merged: &mut Table, key: String, value: Value) {
        self.origins.insert(path.to_owned(), self.layer.to_owned());
        merged.insert(key, value);
    }

    /// Looks in the section itself first, then for the same word anywhere.
    fn unknown(&self, default: &Table, key: &str, path: String) -> Error {
        let sibling = nearest(key, default.keys().cloned()).map(|name| match self.path.as_str() {
            "" => name,
            path => format!("{path}.{name}"),
        });
        Error::Unknown {
            layer: self.layer.to_owned(),
            key: path,
            nearest: sibling,
        }
    }
}

fn parse(layer: &str, text: &str) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let message = format!("line {line}: {}", error.message());
        Error::Syntax {
            layer: layer.to_owned(),
            message,
        }
    })
}

fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    match (table.get(head)?, rest) {
        (value, None) => Some(value),
        (Value::Table(inner), Some(rest)) => find(inner, rest),
        _ => None,
    }
}
