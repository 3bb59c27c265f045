//! Command lines of MCP servers by other authors, and of the programs of this workspace.
//!
//! `./verify` installs the servers into `.tools` and builds the programs. A server over HTTP is started here, on a port of its
//! own, and ends when its guard is dropped.

#![expect(clippy::panic, reason = "a test that lacks its tools fails with the way to get them")]

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::port::{OwnedPort, take_port};

/// The limit for the start of a server, in milliseconds. Shorter than that for a command, so that the failure is reported.
const START_LIMIT_MS: u32 = 50_000;

/// The servers in `.tools`.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program, by its full path.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// A server that listens, until this guard is dropped.
#[derive(Debug)]
pub struct HttpServer {
    /// The address for clients.
    pub url: String,
    child: Child,
    _port: OwnedPort,
}

impl Tools {
    /// Finds the servers that `./verify` has installed.
    ///
    /// # Panics
    /// When they are not installed; the message says how to install them.
    pub fn find() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools");
        for part in ["node/.installed", "python/.installed"] {
            if !folder.join(part).is_file() {
                panic!(
                    "the servers for the tests are not installed in {}: run ./verify once",
                    folder.display()
                );
            }
        }
        Self { folder }
    }

    /// Returns `server-everything` over stdio: one tool for each feature of the protocol; 2025-11-25 and older.
    pub fn everything(&self) -> CommandLine {
        self.node("mcp-server-everything", ["stdio"])
    }

    /// Returns `server-filesystem` over stdio, which reads and writes below one folder; 2025-11-25 and older.
    pub fn filesystem(&self, folder: &Path) -> CommandLine {
        self.node("mcp-server-filesystem", [folder])
    }

    /// Returns `mcp-server-time` over stdio, with UTC for local time. It speaks both protocol eras: with and without a handshake.
    pub fn time(&self) -> CommandLine {
        self.python("mcp-server-time", ["--local-timezone", "UTC"])
    }

    /// Returns `mcp-server-git` over stdio, for one repository. It speaks both protocol eras: with and without a handshake.
    pub fn git(&self, repository: &Path) -> CommandLine {
        self.python("mcp-server-git", [OsStr::new("--repository"), repository.as_os_str()])
    }

    /// Returns a Python script, run with the interpreter that has a NATS client.
    pub fn python_script(&self, script: &Path) -> CommandLine {
        self.python("python", [script])
    }

    /// Starts `server-everything` over HTTP on a port of its own, and returns once it listens; 2025-11-25, with sessions.
    ///
    /// # Panics
    /// When it does not start.
    pub fn everything_over_http(&self) -> HttpServer {
        let command = self.node("mcp-server-everything", ["streamableHttp"]);
        let server = command.start_over_http();
        server.unwrap_or_else(|error| panic!("{} does not start: {error}", command.command.display()))
    }

    fn node<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> CommandLine {
        CommandLine::new(self.folder.join("node/node_modules/.bin").join(name), args)
    }

    fn python<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> CommandLine {
        CommandLine::new(self.folder.join("python/bin").join(name), args)
    }
}

/// Returns the path of a program of this workspace, built with the running test: `longshore` or `tables`.
///
/// # Panics
/// When it is not built; the message says how to build it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("a test has no path: {error}"));
    // Tests are built into `deps`, below the folder of the programs.
    let built = test.ancestors().nth(2).map(|folder| folder.join(name));
    built.filter(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built beside {}: run cargo build --workspace --bins", test.display())
    })
}

impl CommandLine {
    /// Returns a program with its arguments.
    pub fn new<A: AsRef<OsStr>>(command: PathBuf, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        Self { command, args }
    }

    /// Returns the entry for an `mcpServers` file. The start may take long: servers in Python load much code, and a busy machine
    /// has no time for it.
    pub fn entry(&self) -> Value {
        let longshore = json!({ "connect_timeout_ms": START_LIMIT_MS });
        json!({ "command": self.command, "args": self.args, "longshore": longshore })
    }

    /// Starts the program with `PORT` set to a port of its own, and waits for the line that says that it listens.
    fn start_over_http(&self) -> io::Result<HttpServer> {
        let port = take_port();
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .env("PORT", port.number().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let server = HttpServer { url: format!("http://{}/mcp", port.address()), child, _port: port };
        let mut stderr = stderr.map(BufReader::new).ok_or_else(|| io::Error::other("it has no stderr"))?;
        let (mut line, mut output) = (String::new(), String::new());
        while stderr.read_line(&mut line)? > 0 {
            if line.contains("listening on port") {
                // A server stops at its next message once the pipe of its stderr is full.
                std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
                return Ok(server);
            }
            output.push_str(&line);
            line.clear();
        }
        Err(io::Error::other(format!("it ended before it listened: {output}")))
    }
}

impl HttpServer {
    /// Returns the process id, for tests that kill the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the entry for an `mcpServers` file.
    pub fn entry(&self) -> Value {
        json!({ "type": "http", "url": self.url })
    }
}

impl Drop for HttpServer {
    /// Kills the server by its process id. It may have ended already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn every_installed_server_has_its_program() {
        let tools = Tools::find();
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        for server in [tools.everything(), tools.filesystem(folder), tools.time(), tools.git(folder)] {
            assert!(server.command.is_file(), "{}", server.command.display());
        }
    }

    #[test]
    fn server_over_http_listens_on_its_own_port_until_its_guard_is_dropped() {
        let tools = Tools::find();
        let (one, other) = (tools.everything_over_http(), tools.everything_over_http());
        let address = |server: &HttpServer| server.url.replace("http://", "").replace("/mcp", "");
        let (first, second) = (address(&one), address(&other));
        assert_ne!(first, second);
        assert!(TcpStream::connect(&first).is_ok() && TcpStream::connect(&second).is_ok());
        drop(one);
        assert!(TcpStream::connect(&first).is_err() && TcpStream::connect(&second).is_ok());
    }
}
