//! Looks for registered workflows whose texts are gone, for `longshore doctor`.
//!
//! The texts are blobs, so they are lost with the stream of blobs, and the registry is not. Submits of such a workflow are
//! refused until it is pushed again.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::{Error, WorkflowVersion};
use longshore_proto::subject::{self, WORKFLOWS_PREFIX, WORKFLOWS_STREAM};
use longshore_proto::{Digest, decode};
use serde_json::json;

use super::api::find_message;
use super::blobs::parts_subject;
use super::connection::Connection;
use super::failure::failed;
use super::scan::scan;

/// Maximum number of workflows whose texts are looked for, those that were registered last. Most losses are of all texts.
const MOST_WORKFLOWS: usize = 100;

/// Number of texts that are looked for at the same time.
const CONCURRENT: usize = 8;

/// Returns the workflows, as `<namespace>/<name>`, whose current version has no text.
pub(super) async fn find(connection: &Connection) -> Result<Vec<String>, Error> {
    let registered = scan(connection, WORKFLOWS_STREAM, &format!("{WORKFLOWS_PREFIX}.>"), 1).await?;
    let mut current = BTreeMap::new();
    for stored in registered {
        // Later versions replace earlier ones. A deleted version cannot be decoded.
        if let Ok(version) = decode::<WorkflowVersion>(&stored.body)
            && let Some(namespace) = namespace(&stored.subject)
        {
            current.insert(format!("{namespace}/{}", version.name), (stored.seq, version.digest));
        }
    }
    let mut newest: Vec<_> = current.into_iter().map(|(name, (seq, digest))| (seq, name, digest)).collect();
    newest.sort_unstable_by_key(|(seq, ..)| std::cmp::Reverse(*seq));
    newest.truncate(MOST_WORKFLOWS);
    let looks = newest.into_iter().map(|(_, name, digest)| async move {
        Ok::<_, Error>((!is_stored(connection, digest).await?).then_some(name))
    });
    let found: Vec<_> = stream::iter(looks).buffered(CONCURRENT).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Returns the token of the namespace in the subject of an entry, `$KV.LS_WORKFLOWS.<namespace>.<name>.<digest>`.
fn namespace(subject: &str) -> Option<&str> {
    subject.strip_prefix(WORKFLOWS_PREFIX)?.strip_prefix('.')?.split('.').next()
}

/// Returns true if a text is stored, as one message or in parts.
async fn is_stored(connection: &Connection, digest: Digest) -> Result<bool, Error> {
    for subject in [subject::blob(digest), parts_subject(digest)] {
        let query = json!({ "last_by_subj": subject });
        let found = find_message(&connection.context, subject::BLOBS_STREAM, &query).await;
        if found.map_err(|error| failed("look for the text of a workflow", error))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
