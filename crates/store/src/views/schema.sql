-- The views: a projection of the log, dropped and rebuilt at will. One text for SQLite and PostgreSQL.
BEGIN;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO meta VALUES ('schema', 2), ('covers', 0), ('last', 0);

-- Events that are replayed at start, and refusals, by their index in the log.
CREATE TABLE events (seq BIGINT PRIMARY KEY, kind TEXT NOT NULL, ts BIGINT NOT NULL, said_by TEXT NOT NULL, replayed INTEGER NOT NULL, body TEXT NOT NULL);

CREATE TABLE instances (id TEXT PRIMARY KEY, seq BIGINT NOT NULL, identity TEXT NOT NULL, since BIGINT NOT NULL, ended BIGINT, body TEXT NOT NULL);
CREATE INDEX instances_by_identity ON instances (identity, seq);

CREATE TABLE tasks (id TEXT PRIMARY KEY, seq BIGINT NOT NULL, parent TEXT, actor TEXT NOT NULL, principal TEXT NOT NULL, started BIGINT NOT NULL, expires BIGINT NOT NULL, ended BIGINT, elevation TEXT, body TEXT NOT NULL);
CREATE INDEX tasks_by_parent ON tasks (parent);

CREATE TABLE leases (id TEXT PRIMARY KEY, seq BIGINT NOT NULL, class TEXT NOT NULL, identity TEXT NOT NULL, instance TEXT NOT NULL, task TEXT, issued BIGINT NOT NULL, expires BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX leases_by_task ON leases (task);

CREATE TABLE elevations (id TEXT PRIMARY KEY, seq BIGINT NOT NULL, task TEXT NOT NULL, status TEXT NOT NULL, body TEXT NOT NULL);

CREATE TABLE revocations (seq BIGINT PRIMARY KEY, target TEXT NOT NULL, epoch BIGINT NOT NULL, ts BIGINT NOT NULL, said_by TEXT NOT NULL, why TEXT NOT NULL);

CREATE TABLE records (seq BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, ts BIGINT NOT NULL, identity TEXT NOT NULL, task TEXT NOT NULL, resource TEXT NOT NULL, effect TEXT NOT NULL, body TEXT NOT NULL, settled BIGINT, outcome TEXT);
CREATE INDEX records_by_task ON records (task, seq);
CREATE INDEX records_by_identity ON records (identity, seq);

CREATE TABLE contents (digest TEXT NOT NULL, normalised INTEGER NOT NULL, seq BIGINT NOT NULL);
CREATE INDEX contents_by_digest ON contents (digest, seq);
COMMIT;
