//! The same tools over streamable HTTP, on loopback unless somebody says by which names other machines may call.
//!
//! There is no authentication here, so other addresses are refused, as are requests that a browser makes on behalf of
//! a web page, and requests to any other name. No session is kept: every request stands alone, in both protocol eras.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::server::Tables;

/// Why the server does not listen.
#[derive(Debug, Error)]
pub(crate) enum HttpRefusal {
    #[error(
        "{0} is not a loopback address, and this server has no authentication: use 127.0.0.1, or, on a network where \
         everybody may call it, say by which name with --allow-host"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// Serves until the process ends. `listening` is told the URL once connections are accepted. With `hosts`, other
/// machines may call it by those names.
pub(crate) async fn serve(
    tables: Tables,
    address: SocketAddr,
    hosts: Vec<String>,
    listening: impl FnOnce(&str),
) -> Result<(), HttpRefusal> {
    if hosts.is_empty() && !address.ip().is_loopback() {
        return Err(HttpRefusal::NotLoopback(address));
    }
    let refuse = |source| HttpRefusal::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    let mut config = StreamableHttpServerConfig::default();
    config.allowed_hosts.extend(hosts);
    let config = config.with_legacy_session_mode(false).with_json_response(true).enforce_origin_validation();
    let service = StreamableHttpService::new(
        move || Ok(tables.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    listening(&format!("http://{bound}/mcp"));
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await.map_err(refuse)
}
