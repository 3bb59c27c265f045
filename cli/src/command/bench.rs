//! `longshore bench`: measures a cluster against what its broker could do at best.
//!
//! What is measured, and how, is in `bench`; this prints it.

use crate::args::BenchArgs;
use crate::bench::{SCHEMA, bench as measure, page};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Measures, and prints the figures.
pub(super) async fn bench(args: &BenchArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let figures = measure(args, config, output).await?;
    if args.json {
        output.document(SCHEMA, &figures)?;
    } else {
        output.lines(page(&figures))?;
    }
    Ok(Exit::Success)
}
