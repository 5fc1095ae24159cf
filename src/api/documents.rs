//! API documents that workflows call: fetched when these are deployed, so that what is wrong with
//! them is told with everything else.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::workflows;
use crate::store::Store;
use crate::workflow::Documents;
use crate::workflow::openapi::addresses;

/// Documents fetched at a time.
const FETCHES_MAX: usize = 8;

/// Documents of one change of definitions; the others count as not read.
const DOCUMENTS_MAX: usize = 256;

/// Fetches a document by its address.
pub type Fetch = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> + Send + Sync,
>;

/// The documents that these workflows name, for reading them. A version that is stored with the
/// same content keeps its pins, so nothing is fetched for it. Texts that are no workflows count
/// nothing.
pub async fn of<'a>(
    store: &Store,
    fetch: &Fetch,
    work: &tokio::runtime::Handle,
    texts: impl Iterator<Item = &'a str>,
) -> Documents {
    let mut wanted = BTreeSet::new();
    for text in texts.filter(|text| text.contains("openapi")) {
        let text = text.to_owned();
        let read = work.spawn(async move { (addresses(&text), workflows::identity(&text)) });
        let Ok((addresses, identity)) = read.await else {
            continue;
        };
        if addresses.is_empty() {
            continue;
        }
        if let Some((namespace, name, version, digest)) = identity
            && let Ok(Some(stored)) = store.workflow((&namespace, &name, &version)).await
            && stored.digest == digest
        {
            continue;
        }
        wanted.extend(addresses);
    }
    let fetching = wanted.into_iter().take(DOCUMENTS_MAX).map(|uri| {
        let fetched = fetch(uri.clone());
        async move { (uri, fetched.await) }
    });
    let fetched: Vec<_> = stream::iter(fetching)
        .buffer_unordered(FETCHES_MAX)
        .collect()
        .await;
    let read = work.spawn(async move {
        let mut documents = Documents::default();
        for (uri, text) in fetched {
            documents.add(uri, text);
        }
        documents
    });
    read.await.unwrap_or_default()
}
