-- Format 1 of the embedded store. A change to it raises VERSION in database.rs.

-- One row, with a random value of the file.
CREATE TABLE store (
    incarnation TEXT NOT NULL
) STRICT;

-- The extent of each partition's log. It is not derived from the entries, so that sequences continue after all are
-- trimmed.
CREATE TABLE logs (
    partition INTEGER PRIMARY KEY,
    head      INTEGER NOT NULL, -- the first sequence that is not trimmed
    tail      INTEGER NOT NULL, -- the last sequence in use
    at        INTEGER NOT NULL  -- its time, in ms since 1970
) STRICT;

-- The logs. `place` is partition << 47 | sequence. It is the row id, so that an append changes the end of one tree, and
-- entries of a few KiB stay on one page.
CREATE TABLE entries (
    place INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    body  BLOB NOT NULL         -- an encoded Event
) STRICT;

CREATE TABLE checkpoints (
    partition INTEGER PRIMARY KEY,
    mark      BLOB NOT NULL,    -- an encoded CheckpointMark
    state     BLOB NOT NULL
) STRICT;

CREATE TABLE runs (
    run          TEXT PRIMARY KEY,
    partition    INTEGER NOT NULL,
    namespace    TEXT NOT NULL,
    workflow     TEXT NOT NULL,
    status       TEXT NOT NULL,
    live         INTEGER NOT NULL, -- 0 once the status is terminal
    submitted_at INTEGER NOT NULL,
    finished_at  INTEGER,
    summary      BLOB NOT NULL,    -- an encoded RunSummary
    state        BLOB NOT NULL,
    CHECK (live OR finished_at IS NOT NULL)
) STRICT;
CREATE INDEX runs_live ON runs (partition, run) WHERE live;
CREATE INDEX runs_finished ON runs (partition, run, finished_at) WHERE NOT live;
CREATE INDEX runs_newest ON runs (submitted_at DESC, run DESC);

CREATE TABLE claims (
    run         TEXT NOT NULL,
    step        TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until INTEGER NOT NULL, -- in ms since 1970; 0: the holder is gone
    doubtful    INTEGER NOT NULL, -- 1: an earlier holder never reported the outcome of its call
    done_at     INTEGER,          -- time at which its outcome was in the log
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_done ON claims (done_at) WHERE done_at IS NOT NULL;

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    body   BLOB NOT NULL
) STRICT;
