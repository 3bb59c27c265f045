//! `longshore` at a pseudo-terminal, which a test reads and types on.

#![expect(clippy::panic, reason = "a terminal that cannot be opened has failed the test")]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Child;
use tokio::time::timeout;

use crate::longshore::{Longshore, PATIENCE};
use crate::wait::until;

/// A command whose stdin, stdout and stderr are one terminal. It is killed when this is dropped.
#[derive(Debug)]
pub struct TerminalSession {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl TerminalSession {
    /// Starts a command at a new terminal.
    ///
    /// # Panics
    /// When there is no terminal, or the command does not start.
    pub fn start(longshore: Longshore) -> Self {
        let (keyboard, terminal) = open().unwrap_or_else(|error| panic!("no terminal: {error}"));
        let end = || Stdio::from(terminal.try_clone().unwrap_or_else(|error| panic!("no terminal: {error}")));
        let mut command = longshore.into_command();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap_or_else(|error| panic!("does not start: {error}"));
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = keyboard.try_clone().unwrap_or_else(|error| panic!("no terminal: {error}"));
        let reader = std::thread::spawn({
            let screen = Arc::clone(&screen);
            move || copy(shown, &screen)
        });
        Self { child, keyboard, screen, reader }
    }

    /// Waits until the terminal has shown a text.
    pub async fn shows(&self, text: &str) {
        until(text, || self.screen().contains(text)).await;
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, line: &str) {
        let typed = self.keyboard.write_all(format!("{line}\n").as_bytes());
        typed.unwrap_or_else(|error| panic!("cannot type: {error}"));
    }

    /// Waits for the end of the command. Returns the exit code, and everything that the terminal has shown.
    ///
    /// # Panics
    /// When the command does not end within [`PATIENCE`].
    pub async fn end(mut self) -> (Option<i32>, String) {
        let Ok(Ok(status)) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("did not end within {PATIENCE:?}\n{}", self.screen())
        };
        // Reading from the terminal fails once no process has it open.
        let reader = self.reader;
        let _ = tokio::task::spawn_blocking(move || reader.join()).await;
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        (status.code(), String::from_utf8_lossy(&screen).into_owned())
    }

    /// Kills it with SIGKILL, and waits for its end. Returns everything that the terminal showed.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub async fn kill(mut self) -> String {
        let killed = self.child.start_kill();
        killed.unwrap_or_else(|error| panic!("cannot be killed: {error}"));
        self.end().await.1
    }

    fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }
}

/// Opens a pseudo-terminal. Returns the end for the user, and the end for the program.
fn open() -> std::io::Result<(File, File)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let terminal = OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()))?;
    Ok((File::from(master), terminal))
}

fn copy(mut terminal: File, screen: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4_096];
    while let Ok(count) = terminal.read(&mut buffer) {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        screen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}
