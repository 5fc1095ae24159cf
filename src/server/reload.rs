//! Keeps what this node has in memory equal to what the database says.
//!
//! Every change of a definition, source, destination or secret raises the revision; each node
//! looks at it once a second, and reloads everything when it has changed. One path serves start,
//! change by this node and change by another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Settings, World};
use crate::api;
use crate::api::definitions::plan::{self, Mode};
use crate::api::definitions::{self, Checks};
use crate::api::documents;
use crate::call;
use crate::run::named_secrets;
use crate::secret::{Keyring, SealContext, Sealed};
use crate::store::{self, Store};
use crate::webhook;

/// Pause between two looks at the revision.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How long the definitions directory must be still before it is applied.
const SETTLE_PERIOD: Duration = Duration::from_millis(300);

/// Loads secrets, sources, destinations and deployments.
///
/// # Errors
/// Where the database does not answer. What cannot be read is logged and left out.
pub async fn all(world: &World) -> Result<(), store::Error> {
    let sealed = open_secrets(&world.store, &world.keyring, &world.environment).await?;
    world.secrets.replace(sealed);
    let mut declared = Vec::new();
    for row in world.store.destinations().await? {
        match call::document::parse(&row.text) {
            Ok(document) => {
                declared.push(call::Declared {
                    number: row.number,
                    version: row.version,
                    document: Arc::new(document),
                });
            }
            Err(_) => tracing::error!(
                destination.name = row.name,
                "a stored destination cannot be read"
            ),
        }
    }
    if let Err(error) = world.destinations.reload(declared) {
        tracing::error!(%error, "destinations could not be loaded");
    }
    let mut sources = Vec::new();
    for row in world.store.sources().await? {
        match webhook::source::parse(&row.text) {
            Ok(document) => sources.push(document),
            Err(_) => tracing::error!(source.name = row.name, "a stored source cannot be read"),
        }
    }
    let screens = sources.iter().filter_map(webhook::Source::screen);
    world.screens.replace(screens.collect());
    world.sources.replace(sources);
    world.definitions.reload().await
}

/// Opens the sealed secrets; one that cannot be opened is named in the log and left out.
///
/// # Errors
/// Where the database does not answer.
pub async fn open_secrets(
    store: &Store,
    keyring: &Keyring,
    environment: &str,
) -> Result<HashMap<String, SecretString>, store::Error> {
    let mut opened = HashMap::new();
    for row in store.sealed_secrets().await? {
        let context = SealContext {
            environment,
            name: &row.name,
            version: row.version,
        };
        let sealed = Sealed {
            kek_id: row.kek_id,
            wrapped_key: row.wrapped_key,
            sealed: row.sealed,
        };
        match keyring.open(&context, &sealed) {
            Ok(value) => {
                opened.insert(row.name, value);
            }
            Err(error) => tracing::error!(%error, "a sealed secret cannot be opened"),
        }
    }
    Ok(opened)
}

/// Seals a secret that a sender has sent, where there is none of that name, and puts it in force.
pub fn capture(world: &Arc<World>) -> Arc<webhook::Capture> {
    let world = Arc::clone(world);
    Arc::new(move |name, value| {
        let world = Arc::clone(&world);
        Box::pin(async move {
            let kept = keep(&world, &name, &value).await;
            if let Err(error) = &kept {
                tracing::warn!(secret.name = name, "a secret was not captured: {error:#}");
            }
            kept.is_ok()
        })
    })
}

async fn keep(world: &World, name: &str, value: &str) -> anyhow::Result<()> {
    // The first version: where there is one already, the database refuses it.
    let version = 1;
    let context = SealContext {
        environment: &world.environment,
        name,
        version,
    };
    let row = world.keyring.seal(&context, value.as_bytes())?;
    let sealed = store::secrets::Sealed {
        name: name.to_owned(),
        version,
        kek_id: row.kek_id,
        wrapped_key: row.wrapped_key,
        sealed: row.sealed,
    };
    world.store.put_secrets(vec![sealed]).await?;
    all(world).await?;
    Ok(())
}

/// The readers of the kinds of definitions.
pub const CHECKS: Checks = Checks {
    source: |text| webhook::source::parse(text).map(|source| source.name),
    destination: |text| call::document::parse(text).map(|destination| destination.name),
};

/// Applies a directory of definitions.
///
/// # Errors
/// Every fault in every file, with file, line and column; nothing is changed then.
pub async fn apply(world: &World, dir: &Path) -> anyhow::Result<()> {
    let directory = dir.to_owned();
    let files = tokio::task::spawn_blocking(move || definitions::files(&directory)).await??;
    let texts = files.iter().map(|file| file.text.as_str());
    let fetch = fetch(&world.destinations);
    let documents = documents::of(&world.store, &fetch, &world.work, texts).await;
    let read = move || definitions::check(files, &CHECKS, &documents);
    // Definitions are compiled where stacks are deep enough.
    let set = world.work.spawn(async move { read() }).await??;
    let plan = plan::apply(&world.store, set, Mode::default()).await?;
    for line in plan
        .lines
        .iter()
        .filter(|line| line.action != plan::Action::Unchanged)
    {
        tracing::info!(dir = %dir.display(), action = line.action.word(), "{}", line.subject);
    }
    Ok(())
}

/// Fetches API documents as any call is made.
fn fetch(destinations: &Arc<call::Destinations>) -> documents::Fetch {
    let destinations = Arc::clone(destinations);
    Arc::new(move |uri| {
        let destinations = Arc::clone(&destinations);
        Box::pin(async move { destinations.api_document(&uri).await })
    })
}

/// Watches the revision and, where there is one, the definitions directory.
pub fn watch(world: &Arc<World>, dir: Option<PathBuf>, stop: CancellationToken) {
    tokio::spawn(watch_revision(Arc::clone(world), stop.clone()));
    if let Some(dir) = dir {
        tokio::spawn(watch_directory(Arc::clone(world), dir, stop));
    }
}

async fn watch_revision(world: Arc<World>, stop: CancellationToken) {
    let mut loaded = None;
    while tokio::time::timeout(LOOK_PERIOD, stop.cancelled())
        .await
        .is_err()
    {
        let Ok(revision) = world.store.revision().await else {
            continue;
        };
        if loaded == Some(revision) {
            continue;
        }
        match all(&world).await {
            Ok(()) => loaded = Some(revision),
            Err(error) => tracing::warn!(%error, "definitions could not be reloaded; trying again"),
        }
    }
}

async fn watch_directory(world: Arc<World>, dir: PathBuf, stop: CancellationToken) {
    let (changed, mut changes) = mpsc::channel(1);
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading the files is an event, too; it must not lead to reading them again.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        // One pending change is enough: the directory is read as a whole.
        let _pending = changed.try_send(());
    };
    let mut watcher = match notify::recommended_watcher(tell) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::error!(%error, "the definitions directory cannot be watched");
            return;
        }
    };
    if let Err(error) = watcher.watch(&dir, notify::RecursiveMode::Recursive) {
        let dir = dir.display();
        tracing::error!(%error, %dir, "the definitions directory cannot be watched");
        return;
    }
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => change,
        };
        if change.is_none() {
            return;
        }
        while tokio::time::timeout(SETTLE_PERIOD, changes.recv())
            .await
            .is_ok()
        {}
        if let Err(error) = apply(&world, &dir).await {
            tracing::error!(
                "the changed definitions were not applied, the old ones stay: {error:#}"
            );
        }
    }
}

/// What the API works with.
pub fn api_parts(world: &Arc<World>, settings: &Settings) -> api::Parts {
    let counters = Arc::clone(&world.counters);
    let reload = Arc::clone(world);
    let destinations = Arc::clone(&world.destinations);
    api::Parts {
        config: settings.api.clone(),
        environment: Arc::clone(&world.environment),
        store: world.store.clone(),
        appender: world.worker.appender.clone(),
        definitions: Arc::clone(&world.definitions),
        endings: Arc::clone(&world.worker.endings),
        keyring: Arc::clone(&world.keyring),
        secrets: named_secrets(&world.secrets),
        redactor: super::redactor(&world.secrets),
        checks: CHECKS,
        fetch: fetch(&world.destinations),
        reload: Arc::new(move || {
            let world = Arc::clone(&reload);
            Box::pin(async move { all(&world).await })
        }),
        decisions: Arc::clone(&world.decisions),
        rejected: Arc::clone(&world.rejected),
        recent_calls: Arc::new(move |number| destinations.recent_calls(number)),
        door: Arc::new(move || serde_json::to_value(counters.tally()).unwrap_or_default()),
        tasks_max: settings.run.tasks_max,
        work: world.work.clone(),
    }
}
