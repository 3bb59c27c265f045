//! Our own example server, `tables`, as tests start it.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::tools::{CommandLine, program};

/// `tables`, and what it is told.
#[derive(Clone, Debug)]
pub struct Tables {
    args: Vec<String>,
}

/// `tables` over HTTP, until this guard is dropped.
#[derive(Debug)]
pub struct TablesOverHttp {
    url: String,
    child: Child,
}

impl Tables {
    /// It serves this folder.
    pub fn silent(folder: &Path) -> Self {
        Self { args: vec!["--root".to_owned(), folder.display().to_string()] }
    }

    /// It serves this folder, and keeps its journal in it.
    pub fn of(folder: &Path) -> Self {
        let mut tables = Self::silent(folder);
        tables.args.extend(["--journal".to_owned(), folder.join("journal").display().to_string()]);
        tables
    }

    /// Each call takes this long.
    pub fn slowly(mut self, millis: u64) -> Self {
        self.args.extend(["--delay-ms".to_owned(), millis.to_string()]);
        self
    }

    /// As an entry of a servers file, over stdio.
    pub fn entry(&self) -> Value {
        CommandLine::new(program("tables"), &self.args).entry()
    }

    /// Starts it over HTTP on a free port, and returns once it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn over_http(&self) -> TablesOverHttp {
        let mut command = Command::new(program("tables"));
        command.args(&self.args).args(["--http", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("tables does not start: {error}"));
        let mut stderr = child.stderr.take().map(BufReader::new);
        let mut server = TablesOverHttp { url: String::new(), child };
        let mut line = String::new();
        while let Some(said) = &mut stderr {
            line.clear();
            if said.read_line(&mut line).unwrap_or_default() == 0 {
                panic!("tables does not listen");
            }
            if let Some((_, url)) = line.trim().split_once("listening on ") {
                server.url = url.to_owned();
                break;
            }
        }
        // A server whose stderr nobody reads stops at its next message.
        std::thread::spawn(move || stderr.map(|mut rest| io::copy(&mut rest, &mut io::sink())));
        server
    }
}

impl TablesOverHttp {
    /// As an entry of a servers file.
    pub fn entry(&self) -> Value {
        json!({ "type": "http", "url": self.url })
    }
}

impl Drop for TablesOverHttp {
    /// Ends it by its process id. It may have ended already, which is as good.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
