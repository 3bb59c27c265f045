//! Signals that ask the process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;

/// The request of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StopRequest {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, or SIGHUP when the terminal goes away: drain.
    Drain,
}

/// The signals of the process. While this exists, none of them ends the process by itself.
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

    /// Returns the next request. Of several at once, a request to drain goes first, because it cancels nothing. Safe to
    /// cancel.
    pub(crate) async fn next(&mut self) -> StopRequest {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => StopRequest::Drain,
            _ = self.hangup.recv() => StopRequest::Drain,
            _ = self.interrupt.recv() => StopRequest::Interrupt,
        }
    }
}
