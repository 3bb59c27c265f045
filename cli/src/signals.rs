//! What people and systems ask of a process that is at work.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;

/// What was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// Ctrl-C.
    Interrupt,
    /// An end in good order: SIGTERM, or SIGHUP when the terminal goes away.
    Drain,
}

/// The signals of the process. From its making on, none of them ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Error, format!("signals of the system cannot be received: {error}"))
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one. Of several at once, an end in good order goes first: it destroys nothing. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Drain,
            _ = self.hangup.recv() => Asked::Drain,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}
