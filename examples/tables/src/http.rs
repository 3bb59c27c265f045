//! The tools over streamable HTTP, on a loopback address unless the user gives host names for other machines.
//!
//! There is no authentication, so other addresses are refused, as are requests that a browser sends for a web page, and
//! requests to other host names. There are no sessions: every request is independent, in both protocol eras.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::server::Tables;

/// The reason why the server does not listen.
#[derive(Debug, Error)]
pub(crate) enum HttpRefusal {
    #[error(
        "{0} is not a loopback address, and this server has no authentication: use 127.0.0.1, or, on a network where \
         every machine may call it, give its host name with --allow-host"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// Serves until the process ends. Calls `listening` with the URL once connections are accepted. `hosts` are the host names
/// by which other machines may call the server.
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
