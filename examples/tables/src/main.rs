//! An MCP server for a folder of CSV files: it checks them, adds them up and writes a report.
//!
//! It is built on rmcp and shares no code with Longshore, like any other server that Longshore calls. It speaks stdio, or
//! streamable HTTP with `--http`, in both protocol eras. With `--journal` it records every call, and with `--delay-ms` each
//! call takes longer, so that tests can count calls and interrupt them.
//!
//! This file reads the command line and creates the server; the tools are in [`server`].

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
    /// The folder that `write_report` writes to. It is created if it does not exist.
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
            print_message(&format!("error: {error}"));
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
            http::serve(tables, address, arguments.allow_host, |url| {
                print_message(&format!("listening on {url}"))
            })
            .await?
        }
        // Ends when the client closes the standard input.
        None => _ = tables.serve(rmcp::transport::stdio_pipes()).await?.waiting().await?,
    }
    Ok(())
}

/// Prints a message for the user on stderr, because stdout belongs to the protocol.
#[expect(
    clippy::print_stderr,
    reason = "a separate program, which prints its messages for the user who started it"
)]
fn print_message(message: &str) {
    eprintln!("tables: {message}");
}
