//! The example server `tables`.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::tools::{CommandLine, program};

/// The command line of `tables`.
#[derive(Clone, Debug)]
pub struct Tables {
    args: Vec<String>,
}

/// A `tables` over HTTP. It ends when this is dropped.
#[derive(Debug)]
pub struct TablesOverHttp {
    url: String,
    child: Child,
}

impl Tables {
    /// Returns a server of this folder that keeps no journal.
    pub fn without_journal(folder: &Path) -> Self {
        Self { args: vec!["--root".to_owned(), folder.display().to_string()] }
    }

    /// Returns a server of this folder that keeps its journal in it.
    pub fn of(folder: &Path) -> Self {
        let mut tables = Self::without_journal(folder);
        tables.args.extend(["--journal".to_owned(), folder.join("journal").display().to_string()]);
        tables
    }

    /// Makes each call take this long.
    pub fn with_delay_ms(mut self, millis: u64) -> Self {
        self.args.extend(["--delay-ms".to_owned(), millis.to_string()]);
        self
    }

    /// Returns the entry for a servers file, over stdio.
    pub fn entry(&self) -> Value {
        CommandLine::new(program("tables"), &self.args).entry()
    }

    /// Starts the server over HTTP on a port that the system chooses, and returns once it listens.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn over_http(&self) -> TablesOverHttp {
        let mut command = Command::new(program("tables"));
        command.args(&self.args).args(["--http", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("tables does not start: {error}"));
        let mut stderr = child.stderr.take().map(BufReader::new);
        let mut server = TablesOverHttp { url: String::new(), child };
        let mut line = String::new();
        while let Some(output) = &mut stderr {
            line.clear();
            if output.read_line(&mut line).unwrap_or_default() == 0 {
                panic!("tables does not listen");
            }
            if let Some((_, url)) = line.trim().split_once("listening on ") {
                server.url = url.to_owned();
                break;
            }
        }
        // A server stops at its next message once the pipe of its stderr is full.
        std::thread::spawn(move || stderr.map(|mut rest| io::copy(&mut rest, &mut io::sink())));
        server
    }
}

impl TablesOverHttp {
    /// Returns the entry for a servers file.
    pub fn entry(&self) -> Value {
        json!({ "type": "http", "url": self.url })
    }
}

impl Drop for TablesOverHttp {
    /// Kills the server by its process id. It may have ended already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
