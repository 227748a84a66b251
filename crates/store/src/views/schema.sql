-- The views: a projection of the log, dropped and rebuilt at will. One text for SQLite and PostgreSQL.
BEGIN;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO meta VALUES ('schema', 6), ('covers', 0), ('last', 0);

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



-- The last number of each observer, and what it numbered that never came.
CREATE TABLE observers (id TEXT PRIMARY KEY, last BIGINT NOT NULL);
CREATE TABLE gaps (observer TEXT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (observer, first));
-- Calls allowed under each task.
CREATE TABLE usage (task TEXT PRIMARY KEY, calls BIGINT NOT NULL);
-- Allowed calls without an outcome, by the index of their decision.
CREATE TABLE unsettled (seq BIGINT PRIMARY KEY, record TEXT NOT NULL UNIQUE);
-- The moment of every 1,024th entry: a time leads to entries by it.
CREATE TABLE moments (seq BIGINT PRIMARY KEY, ts BIGINT NOT NULL);
COMMIT;
