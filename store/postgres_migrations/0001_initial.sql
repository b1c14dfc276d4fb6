-- Texts are ordered by their bytes, as moments and ids are meant to be, whatever the database's own collation.
CREATE TABLE release (
    id          text COLLATE "C" PRIMARY KEY,
    application text COLLATE "C" NOT NULL,
    status      text COLLATE "C" NOT NULL,
    created_at  text COLLATE "C" NOT NULL,
    body        bytea NOT NULL,
    rowid       bigint GENERATED ALWAYS AS IDENTITY UNIQUE
);

CREATE INDEX release_by_application ON release (application, rowid);

-- The spec never changes; the snapshot is replaced by each decision, guarded by seq.
CREATE TABLE rollout (
    id       text COLLATE "C" PRIMARY KEY,
    release  text COLLATE "C" NOT NULL REFERENCES release (id) ON DELETE CASCADE,
    target   text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    final    integer NOT NULL,
    seq      bigint NOT NULL,
    spec     bytea NOT NULL,
    snapshot bytea NOT NULL,
    rowid    bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    UNIQUE (release, target)
);

-- Append-only: the story of each rollout, one line a decision. Never replayed.
CREATE TABLE journal (
    rollout text COLLATE "C" NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    seq     bigint NOT NULL,
    at      text COLLATE "C" NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (rollout, seq)
);

-- What was ordered before it was done. An action is pending from the commit that orders it to the one that takes its result.
CREATE TABLE action (
    rollout text COLLATE "C" NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    number  bigint NOT NULL,
    name    text COLLATE "C" NOT NULL,
    args    bytea NOT NULL,
    pending integer NOT NULL,
    attempt bigint NOT NULL,
    PRIMARY KEY (rollout, number)
);

CREATE INDEX action_pending ON action (rollout) WHERE pending = 1;

-- Absolute deadlines, UTC.
CREATE TABLE timer (
    rollout text COLLATE "C" NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    name    text COLLATE "C" NOT NULL,
    due_at  text COLLATE "C" NOT NULL,
    PRIMARY KEY (rollout, name)
);

-- What each file of a deploy folder stood for when it last began a release, or was found to say what another one says.
-- `release` names it and no more: a release that is cleared away one day must not make its file look new.
CREATE TABLE origin (
    folder  text COLLATE "C" NOT NULL,
    file    text COLLATE "C" NOT NULL,
    digest  text COLLATE "C" NOT NULL,
    release text COLLATE "C" NOT NULL,
    PRIMARY KEY (folder, file)
);

-- Who may write. Each opening raises the epoch, and each transaction proves that it is of the newest one and leaves its number:
-- whoever lost the answer to a commit looks there for what became of it.
CREATE TABLE writer (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch    bigint NOT NULL,
    latest   bigint NOT NULL,
    holder   text NOT NULL,
    since    text NOT NULL
);

INSERT INTO writer (epoch, latest, holder, since) VALUES (0, 0, '', '');
