//! An MCP server for a folder of CSV files: it checks them, adds them up and writes a report.
//!
//! It stands on rmcp and shares no code with Longshore, as any server that Longshore calls would. It speaks stdio,
//! or streamable HTTP with `--http`, in both protocol eras. With `--journal` it writes down every call, and with
//! `--delay-ms` it takes its time, so that tests can count calls and interrupt them.
//!
//! This file reads the command line and puts the parts together; the tools are in [`server`].

mod check;
mod folder;
mod http;
mod journal;
mod report;
mod server;
mod summary;
mod table;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rmcp::ServiceExt;

use crate::folder::Folder;
use crate::journal::Journal;
use crate::report::Reports;
use crate::server::Tables;

/// An MCP server for a folder of CSV files.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder whose CSV files the tools may read; nothing outside it is ever opened.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The folder that `write_report` writes to; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Serves streamable HTTP at /mcp on this address instead of stdio; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// A name by which other machines may call it. Without one, only a loopback address is served.
    #[arg(long, value_name = "NAME", requires = "http")]
    allow_host: Vec<String>,
    /// Appends one JSON line to this file when a call begins and one when it ends.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Waits this many milliseconds within every call.
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let tables = Tables::new(
        Folder::open(&arguments.root)?,
        arguments.out.map(Reports::open).transpose()?,
        arguments.journal.map(Journal::open).transpose()?,
        Duration::from_millis(arguments.delay_ms),
    );
    match arguments.http {
        Some(address) => {
            http::serve(tables, address, arguments.allow_host, |url| say(&format!("listening on {url}")))
                .await?
        }
        // Ends when the client closes our stdin.
        None => _ = tables.serve(rmcp::transport::stdio_pipes()).await?.waiting().await?,
    }
    Ok(())
}

/// Over stdio, stdout belongs to the protocol: people read stderr.
#[expect(
    clippy::print_stderr,
    reason = "a program of its own, whose messages go to the person who started it"
)]
fn say(message: &str) {
    eprintln!("tables: {message}");
}
