CREATE TABLE release (
    id          TEXT PRIMARY KEY,
    application TEXT NOT NULL,
    status      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    body        BLOB NOT NULL
) STRICT;

CREATE INDEX release_by_application ON release (application, created_at);

-- The spec never changes; the snapshot is replaced by each decision, guarded by seq.
CREATE TABLE rollout (
    id       TEXT PRIMARY KEY,
    release  TEXT NOT NULL REFERENCES release (id) ON DELETE CASCADE,
    target   TEXT NOT NULL,
    state    TEXT NOT NULL,
    final    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    spec     BLOB NOT NULL,
    snapshot BLOB NOT NULL,
    UNIQUE (release, target)
) STRICT;

CREATE INDEX rollout_unfinished ON rollout (id) WHERE final = 0;

-- Append-only: the story of each rollout, one line a decision. Never replayed.
CREATE TABLE journal (
    rollout TEXT NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at      TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (rollout, seq)
) STRICT, WITHOUT ROWID;

-- What was ordered before it was done. An action is pending from the commit that orders it to the one that takes its result.
CREATE TABLE action (
    rollout TEXT NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    args    BLOB NOT NULL,
    pending INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (rollout, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX action_pending ON action (rollout) WHERE pending = 1;

-- Absolute deadlines, UTC.
CREATE TABLE timer (
    rollout TEXT NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    due_at  TEXT NOT NULL,
    PRIMARY KEY (rollout, name)
) STRICT, WITHOUT ROWID;
