//! A roll: who is there, each with a few words about itself, until a moment by the server's clock.
//!
//! Schedulers attend by one and workers present themselves by another. Whoever asks strikes off who is gone.

use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::Error;
use longshore_proto::NodeId;
use redis::Script;

use super::link::{Link, millis, when_full};

/// A full server runs it: schedulers share the partitions by it. An entry is small, and is gone when its process is.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| when_full(include_str!("roll.lua")));

/// Names with what they say about themselves.
type Present = Vec<(String, Vec<u8>)>;

/// One list of who is there.
pub(super) struct Roll {
    link: Link,
    of: &'static str,
}

impl Roll {
    /// The roll of `of`: the word for those on it, in the plural.
    pub(super) const fn new(link: Link, of: &'static str) -> Self {
        Self { link, of }
    }

    /// The keys: until when each is there, and what each says.
    pub(super) fn keys(prefix: &str, of: &str) -> [String; 2] {
        [format!("{prefix}:{{{of}}}:until"), format!("{prefix}:{{{of}}}:entries")]
    }

    async fn say(&self, word: &str, name: &str, lifetime: Duration, entry: &[u8]) -> Result<Present, Error> {
        let [times, entries] = Self::keys(self.link.prefix(), self.of);
        let mut script = SCRIPT.key(times);
        script.key(entries).arg(word).arg(name).arg(millis(lifetime)).arg(entry);
        self.link.run(&script, &format!("{word} among the {}", self.of)).await
    }

    /// Puts somebody on the roll, until `lifetime` from now, and returns everybody.
    pub(super) async fn present(
        &self,
        node: &NodeId,
        entry: &[u8],
        lifetime: Duration,
    ) -> Result<Present, Error> {
        self.say("present", node.as_str(), lifetime, entry).await
    }

    /// Takes somebody off the roll.
    pub(super) async fn withdraw(&self, node: &NodeId) -> Result<(), Error> {
        self.say("withdraw", node.as_str(), Duration::ZERO, b"").await.map(|_| ())
    }

    /// Everybody.
    pub(super) async fn list(&self) -> Result<Present, Error> {
        self.say("list", "", Duration::ZERO, b"").await
    }
}
