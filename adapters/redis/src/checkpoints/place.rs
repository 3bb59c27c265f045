//! The keys of one partition, and the scripts that know them.
//!
//! All keys of a partition have one hash tag, so a script may touch them together. What a commit could not do at once
//! it leaves written down, and whoever comes next settles it first.

use std::sync::LazyLock;

use longshore_ports::Error;
use longshore_proto::{Partition, RunId};
use redis::{FromRedisValue, Script, ScriptInvocation};

use super::chunk;
use crate::link::{Link, when_full};

/// What one commit may leave to be done, in pieces of [`chunk::ENTRIES`] runs: far beyond what a partition can hold.
const PIECES: usize = 100_000;

/// A script that begins with what all of them know about a partition.
macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("partition.lua"), include_str!($file))))
    };
}

/// The same for a script that a full server runs too, because it frees memory or only moves what is stored already.
macro_rules! script_when_full {
    ($file:literal) => {
        LazyLock::new(|| when_full(concat!(include_str!("partition.lua"), include_str!($file))))
    };
}

pub(super) static COMMIT: LazyLock<Script> = script!("commit.lua");
pub(super) static REPLACE: LazyLock<Script> = script!("replace.lua");
static SETTLE: LazyLock<Script> = script_when_full!("settle.lua");
static EXPIRE: LazyLock<Script> = script_when_full!("expire.lua");
static DISCARD: LazyLock<Script> = script_when_full!("discard.lua");
static INSPECT: LazyLock<Script> = script!("inspect.lua");

/// Where a partition's checkpoint is kept.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) link: Link,
    pub(super) partition: Partition,
    tag: String,
}

impl Place {
    pub(super) fn new(link: Link, partition: Partition) -> Self {
        let tag = format!("{}:{{p{partition}}}", link.prefix());
        Self { link, partition, tag }
    }

    /// The key with this name.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    /// A script with the keys that every one of them takes.
    pub(super) fn script<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for name in ["meta", "live", "done", "rows", "index", "redo", "old"] {
            call.key(self.key(name));
        }
        call
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        doing: &str,
    ) -> Result<T, Error> {
        self.link.run(call, &self.doing(doing)).await
    }

    /// What is being done, for errors.
    pub(super) fn doing(&self, doing: &str) -> String {
        format!("{doing} the checkpoint of partition {}", self.partition)
    }

    /// Finishes what a commit left to be done.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        for _ in 0..PIECES {
            let mut call = self.script(&SETTLE);
            if !self.run::<bool>(call.arg(chunk::ENTRIES), "settle").await? {
                return Ok(());
            }
        }
        Err(Error::permanent(self.doing("settle"), format!("more than {PIECES} pieces of work were left")))
    }

    /// Takes finished runs out of the checkpoint with this mark.
    pub(super) async fn expire(&self, mark: &[u8], runs: &[RunId]) -> Result<(), Error> {
        for piece in runs.chunks(chunk::ENTRIES) {
            let mut call = self.script(&EXPIRE);
            call.arg(mark);
            for run in piece {
                call.arg(run.to_string());
            }
            self.run::<()>(&call, "expire runs of").await?;
        }
        Ok(())
    }

    /// Takes out a checkpoint that is damaged or has this mark.
    pub(super) async fn discard(&self, useless: &[u8]) -> Result<(), Error> {
        let mut call = self.script(&DISCARD);
        self.run::<()>(call.arg(useless), "take out").await
    }

    /// What is kept, and whether it can be used.
    pub(super) async fn inspect(&self) -> Result<Kept, Error> {
        let answer: (String, String, Vec<u8>, Vec<u8>, u64, usize, usize) =
            self.run(&self.script(&INSPECT), "look at").await?;
        let (how, why, mark, partition, turn, live, done) = answer;
        Ok(match how.as_str() {
            "nothing" => Kept::Nothing,
            "unsettled" => Kept::Unsettled,
            "whole" => Kept::Whole(Whole { mark, partition, turn, live, done }),
            _ => Kept::Damaged(why),
        })
    }
}

/// What is kept of a partition.
pub(super) enum Kept {
    /// No checkpoint.
    Nothing,
    /// One that cannot be used, and why.
    Damaged(String),
    /// One that has something left to be done.
    Unsettled,
    /// One.
    Whole(Whole),
}

/// A checkpoint, without its runs.
#[derive(Eq, PartialEq)]
pub(super) struct Whole {
    /// The mark, as it is stored.
    pub(super) mark: Vec<u8>,
    /// The machine's state beside the runs.
    pub(super) partition: Vec<u8>,
    /// Counts commits: the same turn is the same content.
    pub(super) turn: u64,
    /// How many live runs it has.
    pub(super) live: usize,
    /// How many finished ones.
    pub(super) done: usize,
}
