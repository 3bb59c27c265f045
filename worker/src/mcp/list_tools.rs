//! The request for the tools of a server, and the listing that its connection keeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{ClientRequest, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ServerResult};
use tracing::warn;

use super::classify::{METHOD_NOT_FOUND, Observation};
use super::connection::Connection;
use super::deadline::Deadline;
use super::listing::{LONGEST_USE, Listing, PageTools};

/// Pages of a listing.
const MOST_PAGES: usize = 100;

/// The listings that a caller accepts.
#[derive(Clone, Debug)]
pub(crate) enum Freshness {
    /// The known one while it is valid.
    Valid,
    /// Any but this one.
    NewerThan(Arc<Listing>),
    /// One that is fetched now.
    Fetched,
}

impl Connection {
    /// Returns the tools of the server: the known ones if `freshness` allows and the server has not said that they changed.
    pub(crate) async fn listing(
        &self,
        limit: Duration,
        freshness: Freshness,
    ) -> Result<Arc<Listing>, Observation> {
        let mut known = self.state.listing.lock().await;
        let changed = self.notices.tools_changed.swap(false, Ordering::Relaxed);
        if let Some(listing) = known.as_ref()
            && !changed
            && match freshness {
                Freshness::Valid => listing.holds(),
                Freshness::NewerThan(old) => !Arc::ptr_eq(listing, &old),
                Freshness::Fetched => false,
            }
        {
            return Ok(Arc::clone(listing));
        }
        *known = None;
        if !self.is_usable() {
            return Err(Observation::NotReached(
                "the connection was given up while the call waited".to_owned(),
            ));
        }
        let listing = Arc::new(fetch(self, limit).await?);
        *known = Some(Arc::clone(&listing));
        Ok(listing)
    }
}

/// Asks a server for all its tools.
async fn fetch(connection: &Connection, limit: Duration) -> Result<Listing, Observation> {
    let deadline = Deadline::after(limit);
    let (mut tools, mut cursor, mut holds_for) = (PageTools::default(), None, LONGEST_USE);
    let mut asked: BTreeSet<Option<String>> = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        asked.insert(cursor.clone());
        let mut page = match page(connection, cursor, deadline, limit).await {
            Err(Observation::JsonRpc { code: METHOD_NOT_FOUND, .. }) => {
                return Ok(Listing::new(PageTools::default(), false, LONGEST_USE));
            }
            page => page?,
        };
        holds_for = holds_for.min(page.ttl_ms.map_or(LONGEST_USE, Duration::from_millis));
        tools.add(connection.server(), &mut page, connection.secrets())?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(Listing::new(tools, true, holds_for));
        }
        if asked.contains(&cursor) {
            // Nothing new can come; the tools that came are good.
            let server = connection.server();
            warn!(%server, "the list of tools leads back to a page that was read; it ends there");
            return Ok(Listing::new(tools, true, holds_for));
        }
    }
    Err(Observation::Unreadable(format!("the list of tools has more than {MOST_PAGES} pages")))
}

async fn page(
    connection: &Connection,
    cursor: Option<String>,
    deadline: Deadline,
    limit: Duration,
) -> Result<ListToolsResult, Observation> {
    let request = ListToolsRequest::with_param(PaginatedRequestParams::default().with_cursor(cursor));
    match connection.request(ClientRequest::ListToolsRequest(request), deadline).await {
        Ok(ServerResult::ListToolsResult(page)) => Ok(page),
        Err(Observation::Deadline(..)) => Err(Observation::NotListed(limit)),
        Err(seen) => Err(seen),
        Ok(_) => Err(Observation::Unreadable("it is no list of tools".to_owned())),
    }
}
