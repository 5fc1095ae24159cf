//! The catalogue of senders: data, not code.
//!
//! The files of `providers/` are embedded and compiled at first use; users' own entries have the
//! same form. What only people read (deadlines, retries, notes) is kept beside the scheme.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::compile::words::{filled_text, filled_texts};
use super::template::Names;
use super::{Parts, Scheme, compile};
use crate::workflow::document::{self, Fault, Faults, Key, Object, Place};

/// The embedded texts.
const PROVIDERS: [&str; 5] = [
    include_str!("providers/body.yaml"),
    include_str!("providers/composed.yaml"),
    include_str!("providers/request.yaml"),
    include_str!("providers/public_key.yaml"),
    include_str!("providers/token.yaml"),
];

/// What people want to know about a sender.
#[derive(Clone, Debug)]
pub struct About {
    /// The sender's name.
    pub title: String,
    /// Its secrets: name, and where to find it.
    pub secrets: Vec<(String, String)>,
    /// Its settings that are no secrets.
    pub parameters: Vec<(String, String)>,
    /// What to know before relying on it.
    pub note: Option<String>,
    /// How it delivers.
    pub practice: Option<Practice>,
    /// Public places where the facts can be checked.
    pub sources: Vec<String>,
    /// Whether the way of verification was checked against them.
    pub checked: bool,
}

/// How a sender delivers. Nothing depends on it; it is shown to people.
#[derive(Clone, Debug)]
pub struct Practice {
    /// Within how many seconds it wants an answer.
    pub deadline_s: Option<i64>,
    /// What it takes as success.
    pub success: Option<String>,
    /// When it sends again.
    pub retries: Option<String>,
    /// When it stops sending.
    pub disabling: Option<String>,
    /// Whether these facts were checked; others are from memory and not shown.
    pub checked: bool,
}

/// One sender.
pub(super) struct Entry {
    pub scheme: Scheme,
    pub about: About,
}

/// Senders by name, in the order of the text.
#[derive(Default)]
pub(super) struct Catalogue {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Catalogue {
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.places.get(name).map(|place| &self.entries[*place])
    }

    pub fn names(&self) -> Vec<&str> {
        let names = self.entries.iter().filter_map(|entry| entry.scheme.name());
        names.collect()
    }

    /// False where the name is taken.
    fn add(&mut self, name: &str, entry: Entry) -> bool {
        let place = self.entries.len();
        let free = self.places.insert(name.to_owned(), place).is_none();
        self.entries.push(entry);
        free
    }
}

/// The embedded catalogue, compiled.
pub(super) fn embedded() -> &'static Catalogue {
    static EMBEDDED: LazyLock<Catalogue> = LazyLock::new(|| {
        let mut all = Catalogue::default();
        for text in PROVIDERS {
            let read = catalogue(text, &mut all);
            read.expect("the embedded catalogue has no faults: tests/it/signatures.rs");
        }
        all
    });
    &EMBEDDED
}

/// Compiles all entries of a catalogue.
pub(super) fn read(text: &str) -> Result<Vec<Scheme>, Vec<Fault>> {
    let mut own = Catalogue::default();
    catalogue(text, &mut own)?;
    Ok(own.entries.into_iter().map(|entry| entry.scheme).collect())
}

fn catalogue(text: &str, all: &mut Catalogue) -> Result<(), Vec<Fault>> {
    let node = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let done = entries(&Place::root(&node, &faults), all);
    faults.result(done)
}

fn entries(root: &Place<'_>, all: &mut Catalogue) -> Option<()> {
    let object = root.object()?;
    let providers = object.required("providers");
    object.finish();
    let providers = providers?.object()?;
    let mut good = Some(());
    for (key, place) in providers.members() {
        let added = entry(key, &place, all).map(|entry| all.add(&key.name, entry));
        if added == Some(false) {
            place.fault(format!("there is a `{}` already", key.name));
        }
        good = good.filter(|()| added == Some(true));
    }
    good
}

fn entry(key: &Key, place: &Place<'_>, all: &Catalogue) -> Option<Entry> {
    let object = place.object()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if key.name.is_empty() || !key.name.chars().all(plain) {
        place.fault(format!(
            "`{}` is no provider name: use a–z, 0–9 and `-`",
            key.name
        ));
    }
    let title = object.required("title").and_then(|place| place.string());
    let sources = object
        .required("sources")
        .and_then(|place| filled_texts(&place));
    let note = object.optional_string("note").map(str::to_owned);
    let checked = !object.optional_bool("unchecked").unwrap_or(false);
    let practice = match object.optional("practice") {
        None => Some(None),
        Some(place) => practice(&place).map(Some),
    };
    let own = match object.optional("like") {
        Some(like) => alike(&like, all),
        None => own(&object),
    };
    object.finish();
    let (mut scheme, secrets, parameters) = own?;
    scheme.name = Some(key.name.clone());
    let about = About {
        title: title?.to_owned(),
        secrets,
        parameters,
        note,
        practice: practice?,
        sources: sources?.into_iter().map(str::to_owned).collect(),
        checked,
    };
    Some(Entry { scheme, about })
}

type Own = (Scheme, Vec<(String, String)>, Vec<(String, String)>);

/// The scheme of an earlier entry.
fn alike(like: &Place<'_>, all: &Catalogue) -> Option<Own> {
    let name = filled_text(like)?;
    let Some(other) = all.get(name) else {
        like.fault(format!("there is no `{name}` above this entry"));
        return None;
    };
    let about = other.about.clone();
    Some((other.scheme.clone(), about.secrets, about.parameters))
}

fn own(object: &Object<'_>) -> Option<Own> {
    let secrets = named(object, "secrets");
    let parameters = named(object, "parameters");
    let verify = object.required("verify");
    let parts = verify.map(|verify| Parts {
        verify,
        event: object.optional("event"),
        handshake: object.optional("handshake"),
        acknowledge: object.optional("acknowledge"),
    });
    let quiet = object.optional_bool("quiet").unwrap_or(false);
    let (secrets, parameters) = (secrets?, parameters?);
    let names = |named: &[(String, String)]| named.iter().map(|(name, _)| name.clone()).collect();
    let names = Names {
        secrets: names(&secrets),
        parameters: names(&parameters),
        ..Names::default()
    };
    let mut scheme = compile::scheme(&parts?, names)?;
    let declared = secrets.len() + parameters.len();
    if scheme.names.secrets.len() + scheme.names.parameters.len() != declared {
        let message = "a secret or parameter is used that is not declared here";
        object.place().fault(message);
    }
    scheme.quiet = quiet;
    Some((scheme, secrets, parameters))
}

/// The declared names, in the order that says which one a single `secret:` means.
fn named(object: &Object<'_>, word: &'static str) -> Option<Vec<(String, String)>> {
    let Some(place) = object.optional(word) else {
        return Some(Vec::new());
    };
    let object = place.object()?;
    let names = object.members().map(|(key, what)| {
        let what = what.string()?;
        Some((key.name.clone(), what.to_owned()))
    });
    let names: Vec<_> = names.collect();
    names.into_iter().collect()
}

fn practice(place: &Place<'_>) -> Option<Practice> {
    let object = place.object()?;
    let deadline_s = object.optional("deadline");
    let deadline_s = deadline_s.and_then(|place| place.integer(1, 600));
    let text = |name: &'static str| object.optional_string(name).map(str::to_owned);
    let (success, retries, disabling) = (text("success"), text("retries"), text("disabling"));
    let checked = !object.optional_bool("unchecked").unwrap_or(false);
    object.finish();
    Some(Practice {
        deadline_s,
        success,
        retries,
        disabling,
        checked,
    })
}
