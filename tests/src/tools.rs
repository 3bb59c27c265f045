//! Where the servers are that other people wrote, and the programs of this workspace.
//!
//! `./verify` installs the servers into `.tools` and builds the programs. Everything here is a command line for
//! somebody else to start, but for servers over HTTP, which are started here, on a port of their own, and end with
//! their guard.

#![expect(clippy::panic, reason = "a test that lacks its tools fails with the way to get them")]

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Between choosing a free port and its use another process may take it; five times in a row is no accident.
const MAX_STARTS: usize = 5;

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
    /// Where it answers.
    pub url: String,
    child: Child,
}

impl Tools {
    /// Finds what `./verify` has installed.
    ///
    /// # Panics
    /// When it has not, with the way to do it.
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

    /// `server-everything` over stdio: one tool for each feature of the protocol; 2025-11-25 and older.
    pub fn everything(&self) -> CommandLine {
        self.node("mcp-server-everything", ["stdio"])
    }

    /// `server-filesystem` over stdio, which reads and writes below one folder; 2025-11-25 and older.
    pub fn filesystem(&self, folder: &Path) -> CommandLine {
        self.node("mcp-server-filesystem", [folder])
    }

    /// `mcp-server-time` over stdio, with UTC for local time; both eras.
    pub fn time(&self) -> CommandLine {
        self.python("mcp-server-time", ["--local-timezone", "UTC"])
    }

    /// `mcp-server-git` over stdio, for one repository; both eras.
    pub fn git(&self, repository: &Path) -> CommandLine {
        self.python("mcp-server-git", [OsStr::new("--repository"), repository.as_os_str()])
    }

    /// A script for the Python that has a NATS client.
    pub fn python_script(&self, script: &Path) -> CommandLine {
        self.python("python", [script])
    }

    /// Starts `server-everything` over HTTP on a free port, and returns once it listens; 2025-11-25, with sessions.
    ///
    /// # Panics
    /// When it does not start.
    pub fn everything_over_http(&self) -> HttpServer {
        let server = self.node("mcp-server-everything", ["streamableHttp"]);
        for _ in 0..MAX_STARTS {
            match server.start_on_free_port() {
                Ok(Some(server)) => return server,
                Ok(None) => {}
                Err(error) => panic!("{} does not start: {error}", server.command.display()),
            }
        }
        panic!("{} never listened, {MAX_STARTS} times in a row", server.command.display())
    }

    fn node<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> CommandLine {
        CommandLine::new(self.folder.join("node/node_modules/.bin").join(name), args)
    }

    fn python<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> CommandLine {
        CommandLine::new(self.folder.join("python/bin").join(name), args)
    }
}

/// A program of this workspace, as it was built together with the running test: `longshore` or `tables`.
///
/// # Panics
/// When it has not been built, with the way to do it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("a test has no path: {error}"));
    // Tests are built into `deps`, below the folder of the programs.
    let built = test.ancestors().nth(2).map(|folder| folder.join(name));
    built.filter(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built beside {}: run cargo build --workspace --bins", test.display())
    })
}

impl CommandLine {
    /// A program and its arguments.
    pub fn new<A: AsRef<OsStr>>(command: PathBuf, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        Self { command, args }
    }

    /// The same as an entry of an `mcpServers` file.
    pub fn entry(&self) -> Value {
        json!({ "command": self.command, "args": self.args })
    }

    /// Starts the program with `PORT` set to a free port, and waits for the line in which it says that it listens.
    /// `None` if it ended instead, as it does when another process was quicker to take the port.
    fn start_on_free_port(&self) -> io::Result<Option<HttpServer>> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let server = HttpServer { url: format!("http://127.0.0.1:{port}/mcp"), child };
        let Some(mut stderr) = stderr.map(BufReader::new) else { return Ok(None) };
        let mut line = String::new();
        while stderr.read_line(&mut line)? > 0 {
            if line.contains("listening on port") {
                // A server whose stderr nobody reads stops at its next message.
                std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
                return Ok(Some(server));
            }
            line.clear();
        }
        Ok(None)
    }
}

impl HttpServer {
    /// Its process, for tests that kill it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The same as an entry of an `mcpServers` file.
    pub fn entry(&self) -> Value {
        json!({ "type": "http", "url": self.url })
    }
}

impl Drop for HttpServer {
    /// Ends it by its process id. It may have ended already, which is as good.
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
    fn every_server_that_was_written_elsewhere_is_where_its_command_line_says() {
        let tools = Tools::find();
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        for server in [tools.everything(), tools.filesystem(folder), tools.time(), tools.git(folder)] {
            assert!(server.command.is_file(), "{}", server.command.display());
        }
    }

    #[test]
    fn a_server_over_http_listens_on_a_port_of_its_own_until_its_guard_is_dropped() {
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
