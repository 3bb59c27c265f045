//! The request for the tools of a server, and the cached listing of its connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{ClientRequest, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ServerResult};
use tracing::warn;

use super::classify::{METHOD_NOT_FOUND, McpFailure};
use super::connection::Connection;
use super::deadline::Deadline;
use super::tool_listing::{LONGEST_USE, PageTools, ToolListing};

/// Maximum number of pages of a listing.
const MOST_PAGES: usize = 100;

/// The listings that a caller accepts.
#[derive(Clone, Debug)]
pub(crate) enum ListingFreshness {
    /// The cached listing while it is valid.
    Valid,
    /// Any other listing than this one.
    NewerThan(Arc<ToolListing>),
    /// A listing that is fetched now.
    Fetched,
}

impl Connection {
    /// Returns the tools of the server: the cached listing if `freshness` allows and the server sent no notification that its tools
    /// changed.
    pub(crate) async fn listing(
        &self,
        limit: Duration,
        freshness: ListingFreshness,
    ) -> Result<Arc<ToolListing>, McpFailure> {
        let mut cached = self.state.listing.lock().await;
        let changed = self.notices.tools_changed.swap(false, Ordering::Relaxed);
        if let Some(listing) = cached.as_ref()
            && !changed
            && match freshness {
                ListingFreshness::Valid => listing.is_valid(),
                ListingFreshness::NewerThan(old) => !Arc::ptr_eq(listing, &old),
                ListingFreshness::Fetched => false,
            }
        {
            return Ok(Arc::clone(listing));
        }
        *cached = None;
        if !self.is_usable() {
            return Err(McpFailure::NotReached(
                "the connection became unusable while the call waited".to_owned(),
            ));
        }
        let listing = Arc::new(fetch(self, limit).await?);
        *cached = Some(Arc::clone(&listing));
        Ok(listing)
    }
}

/// Fetches all pages of a server's tools.
async fn fetch(connection: &Connection, limit: Duration) -> Result<ToolListing, McpFailure> {
    let deadline = Deadline::after(limit);
    let (mut tools, mut cursor, mut valid_for) = (PageTools::default(), None, LONGEST_USE);
    let mut fetched: BTreeSet<Option<String>> = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        fetched.insert(cursor.clone());
        let mut page = match fetch_page(connection, cursor, deadline, limit).await {
            Err(McpFailure::JsonRpc { code: METHOD_NOT_FOUND, .. }) => {
                return Ok(ToolListing::new(PageTools::default(), false, LONGEST_USE));
            }
            page => page?,
        };
        valid_for = valid_for.min(page.ttl_ms.map_or(LONGEST_USE, Duration::from_millis));
        tools.add(connection.server(), &mut page, connection.secrets())?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(ToolListing::new(tools, true, valid_for));
        }
        if fetched.contains(&cursor) {
            // No further page has new tools, and those of the fetched pages can be used.
            let server = connection.server();
            warn!(%server, "the list of tools leads back to an earlier page; using the tools so far");
            return Ok(ToolListing::new(tools, true, valid_for));
        }
    }
    Err(McpFailure::Unreadable(format!("the list of tools has more than {MOST_PAGES} pages")))
}

async fn fetch_page(
    connection: &Connection,
    cursor: Option<String>,
    deadline: Deadline,
    limit: Duration,
) -> Result<ListToolsResult, McpFailure> {
    let request = ListToolsRequest::with_param(PaginatedRequestParams::default().with_cursor(cursor));
    match connection.request(ClientRequest::ListToolsRequest(request), deadline).await {
        Ok(ServerResult::ListToolsResult(page)) => Ok(page),
        Err(McpFailure::Deadline(..)) => Err(McpFailure::NotListed(limit)),
        Err(failure) => Err(failure),
        Ok(_) => Err(McpFailure::Unreadable("it is no list of tools".to_owned())),
    }
}
