//! Kinds of events, and the roles of the processes that may write them.

use crate::Event;

/// The role in which a process appends to a log. A scheduler has two of them.
///
/// On NATS each role has a subject of its own in each log, so that permissions state what a user may append. An event on the
/// subject of another role is not applied by any reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriterRole {
    /// A scheduler that takes in requests of clients. It need not lead the partition.
    Submit,
    /// A worker that reports about its jobs.
    Worker,
    /// The leader of the partition.
    Leader,
}

impl WriterRole {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Submit, Self::Worker, Self::Leader];

    /// Returns the name of the role, which is a token of a subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Worker => "worker",
            Self::Leader => "leader",
        }
    }

    /// Returns true if a process in this role may write events of a kind.
    pub fn may_write(self, kind: EventKind) -> bool {
        self == kind.writer()
    }
}

impl std::fmt::Display for WriterRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of [`Event`], which has the same name. Its number is in the prefix of each encoded event, and is never used again for
/// another kind.
#[expect(missing_docs, reason = "the variants of `Event` are documented")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum EventKind {
    LeaderAnnounced = 1,
    Configured = 2,
    Quarantined = 3,
    Submitted = 4,
    Starting = 5,
    Returned = 6,
    Settled = 7,
    Resumed = 8,
    NotCalled = 9,
    Evaluated = 10,
    Continued = 11,
    Signalled = 12,
    Fired = 13,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::LeaderAnnounced,
        Self::Configured,
        Self::Quarantined,
        Self::Submitted,
        Self::Starting,
        Self::Returned,
        Self::Settled,
        Self::Resumed,
        Self::NotCalled,
        Self::Evaluated,
        Self::Continued,
        Self::Signalled,
        Self::Fired,
    ];

    /// Returns the number of the kind.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the kind with a number. `None` if this version knows no such kind.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Returns the role that writes events of this kind; each kind has one.
    pub const fn writer(self) -> WriterRole {
        match self {
            Self::Submitted | Self::Signalled => WriterRole::Submit,
            Self::Starting | Self::Returned | Self::Settled => WriterRole::Worker,
            Self::LeaderAnnounced
            | Self::Configured
            | Self::Quarantined
            | Self::Resumed
            | Self::NotCalled
            | Self::Evaluated
            | Self::Continued
            | Self::Fired => WriterRole::Leader,
        }
    }
}

impl Event {
    /// Returns the kind of the event.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::LeaderAnnounced { .. } => EventKind::LeaderAnnounced,
            Self::Configured { .. } => EventKind::Configured,
            Self::Quarantined { .. } => EventKind::Quarantined,
            Self::Submitted { .. } => EventKind::Submitted,
            Self::Starting { .. } => EventKind::Starting,
            Self::Returned { .. } => EventKind::Returned,
            Self::Settled { .. } => EventKind::Settled,
            Self::Resumed { .. } => EventKind::Resumed,
            Self::NotCalled { .. } => EventKind::NotCalled,
            Self::Evaluated { .. } => EventKind::Evaluated,
            Self::Continued { .. } => EventKind::Continued,
            Self::Signalled { .. } => EventKind::Signalled,
            Self::Fired { .. } => EventKind::Fired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_number_of_its_own() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!((EventKind::from_number(0), EventKind::from_number(14)), (None, None));
    }

    #[test]
    fn worker_may_write_reports_about_its_jobs_only() {
        let writable =
            |role: WriterRole| EventKind::ALL.into_iter().filter(move |kind| role.may_write(*kind));
        let reports = [EventKind::Starting, EventKind::Returned, EventKind::Settled];
        assert!(writable(WriterRole::Worker).eq(reports));
        assert!(writable(WriterRole::Submit).eq([EventKind::Submitted, EventKind::Signalled]));
        assert_eq!(writable(WriterRole::Leader).count(), EventKind::ALL.len() - 5, "all others");
    }
}
