//! References of definitions to destinations and secrets, and which of them lead nowhere.
//!
//! Only what is written out is looked at; a name that an expression makes is known at run time.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::api::definitions::{File, FileFault};
use crate::cli::client::Client;
use crate::workflow::Fault;
use crate::workflow::document::{self, Content, Node, join, nearest};

/// What a definition refers to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Noun {
    Destination,
    Secret,
}

impl Noun {
    const fn name(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Secret => "secret",
        }
    }
}

/// The places of one name: pointer, line and column in a file.
type Places = BTreeMap<(Noun, String), Vec<FileFault>>;

/// References to what neither the files nor the server have. Without a server nothing is known of
/// secrets, so nothing is said about them.
pub(super) async fn missing(
    files: &[File],
    server: Option<&Client>,
) -> anyhow::Result<Vec<FileFault>> {
    let mut places = Places::new();
    let mut declared = HashSet::new();
    for file in files {
        // What cannot be read at all has a fault of its own.
        let Ok(root) = document::read(&file.text) else {
            continue;
        };
        let name = root.get("destination").and_then(Node::as_str);
        declared.extend(name.map(str::to_owned));
        let mut finder = Finder {
            path: &file.path,
            places: &mut places,
        };
        finder.walk(&root, "");
    }
    let mut faults = Vec::new();
    for ((noun, name), found) in places {
        let known = match (noun, server) {
            (Noun::Destination, _) if declared.contains(&name) => true,
            (_, Some(server)) => has(server, noun, &name).await?,
            (Noun::Destination, None) => false,
            (Noun::Secret, None) => true,
        };
        if known {
            continue;
        }
        let near = match noun {
            Noun::Destination => nearest(&name, declared.iter().map(String::as_str)),
            Noun::Secret => None,
        };
        faults.extend(found.into_iter().map(|mut place| {
            let what = noun.name();
            place.fault.message = format!("no {what} is named `{name}`");
            place.fault.hint = Some(match (near, noun) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, Noun::Destination) => format!("add a `destination: {name}` document"),
                (None, Noun::Secret) => format!("store it with PUT /api/v1/secrets/{name}"),
            });
            place
        }));
    }
    Ok(faults)
}

async fn has(server: &Client, noun: Noun, name: &str) -> anyhow::Result<bool> {
    let path = format!("/api/v1/{}s/{name}", noun.name());
    let answer = server.send("GET", &path, None, &[]).await?;
    match answer.status {
        200..=299 => Ok(true),
        404 => Ok(false),
        status => anyhow::bail!("GET {path}: {status}"),
    }
}

/// Finds the references of one file.
struct Finder<'a> {
    path: &'a Path,
    places: &'a mut Places,
}

impl Finder<'_> {
    fn note(&mut self, noun: Noun, name: &str, node: &Node, pointer: &str) {
        let fault = Fault {
            pointer: pointer.to_owned(),
            line: node.line,
            column: node.column,
            message: String::new(),
            hint: None,
        };
        let path = self.path.to_owned();
        let all = self.places.entry((noun, name.to_owned())).or_default();
        all.push(FileFault { path, fault });
    }

    /// Walks a tree whose depth `document::read` has bounded.
    fn walk(&mut self, node: &Node, pointer: &str) {
        match &node.content {
            Content::String(text) => self.text(text, node, pointer),
            Content::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &join(pointer, &index.to_string()));
                }
            }
            Content::Object(members) => {
                for (key, member) in members {
                    let pointer = join(pointer, &key.name);
                    match member.as_str().filter(|_| members.len() == 1) {
                        Some(text) if key.name == "secret" => self.secret(text, member, &pointer),
                        _ => self.walk(member, &pointer),
                    }
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) => {}
        }
    }

    /// `{secret: name}` or `{secret: name.member}`.
    fn secret(&mut self, text: &str, node: &Node, pointer: &str) {
        let name = text.split('.').next().unwrap_or(text);
        self.note(Noun::Secret, name, node, pointer);
    }

    fn text(&mut self, text: &str, node: &Node, pointer: &str) {
        if let Some(rest) = text.strip_prefix("destination://") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            self.note(Noun::Destination, &rest[..end], node, pointer);
        } else if parent(pointer) == "/use/secrets" {
            self.note(Noun::Secret, text, node, pointer);
        }
    }
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}
