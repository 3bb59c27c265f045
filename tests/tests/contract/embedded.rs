//! Every contract of the ports, checked against the embedded adapters.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made ends its test")]

use async_trait::async_trait;
use libtest_mimic::Trial;
use longshore_embedded::{Access, Embedded};
use longshore_ports::Backend;
use longshore_tests::contract::{self, Fixture};
use tempfile::TempDir;

/// The adapters on a data directory of their own.
struct Directory {
    dir: TempDir,
    embedded: Option<Embedded>,
}

impl Directory {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let embedded = Some(open(&dir).await);
        Self { dir, embedded }
    }
}

async fn open(dir: &TempDir) -> Embedded {
    Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens")
}

#[async_trait]
impl Fixture for Directory {
    fn backend(&self) -> Backend {
        self.embedded.as_ref().expect("open").backend()
    }

    async fn restart(&mut self) {
        self.embedded.take().expect("open").close().await;
        self.embedded = Some(open(&self.dir).await);
    }
}

pub(crate) fn tests() -> Vec<Trial> {
    contract::tests("embedded", &[contract::ALL], Directory::new)
}
