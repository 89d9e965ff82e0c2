-- The store's one file. Text keys compare as bytes; `checksum` is the CRC-32 of a row, so that a damaged byte is seen
-- and not acted on: SQLite itself checks structure alone.
CREATE TABLE entry (
  key TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL,
  create_revision INTEGER NOT NULL,
  mod_revision INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;

-- What changed, for watches; forgotten by compaction. A NULL value is a deletion.
CREATE TABLE change (
  revision INTEGER NOT NULL,
  position INTEGER NOT NULL,
  key TEXT NOT NULL,
  value BLOB,
  PRIMARY KEY (revision, position)
) STRICT;

-- One row: the newest revision, and the first whose change is still kept.
CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  compacted INTEGER NOT NULL
) STRICT;

INSERT INTO head (id, revision, compacted) VALUES (1, 0, 1);
