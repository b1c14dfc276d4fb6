-- What each file of a deploy folder stood for when it last began a release, or was found to say what another one says.
-- `release` names it and no more: a release that is cleared away one day must not make its file look new.
CREATE TABLE origin (
    folder  TEXT NOT NULL,
    file    TEXT NOT NULL,
    digest  TEXT NOT NULL,
    release TEXT NOT NULL,
    PRIMARY KEY (folder, file)
) STRICT, WITHOUT ROWID;
