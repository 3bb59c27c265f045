//! Every contract of the ports, checked against every set of adapters.

mod cluster;
mod embedded;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let tests = embedded::tests().into_iter().chain(cluster::tests()).collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
