-- The event log, the queue and the journal.
--
-- History (events, dedupe, runs, journal, ignored) is append-only and partitioned by
-- day: ids are UUIDs of version 7, so a range of ids is a range of time and an id alone finds its
-- partition. What changes all the time (inbox, ready, timers, claims) is narrow, has one index,
-- and its rows are deleted. No foreign keys on these tables: no lock is taken on another row.

create table events (
  id uuid not null primary key,
  received_at timestamptz not null default now(),
  source text not null,
  event_id text not null,
  type text not null,
  content_type text,
  attributes bytea,                 -- JSON object of the other CloudEvents attributes; null = none
  headers bytea,                    -- JSON array of [name, value]; credentials are masked
  body bytea not null,              -- byte for byte
  workflow_id integer,              -- addressed: starts this workflow ...
  run_id uuid                       -- ... as this run
) partition by range (id);

-- The partition column stands last in the key: first, each probe would scan a whole partition.
create table dedupe (
  key bytea not null,
  day date not null,
  event_id uuid not null,
  primary key (key, day)
) partition by list (day);

create table inbox (
  event_id uuid not null primary key,
  queued_at timestamptz not null default now()
);

create table ignored (
  event_id uuid not null primary key,
  reason text not null
) partition by range (event_id);

create table runs (
  id uuid not null primary key,
  workflow_id integer not null,
  event_id uuid not null
) partition by range (id);

-- One row a settlement; the last one of a run carries how it ended. A run's row never changes.
create table journal (
  run_id uuid not null,
  seq integer not null,
  at timestamptz not null default now(),
  entries bytea,
  status text,                      -- completed, faulted, cancelled; null while the run is open
  output bytea,
  error bytea,
  primary key (run_id, seq)
) partition by range (run_id);

-- Faulted runs are dead letters; a small table of their own keeps lists of them cheap.
create table faulted (
  run_id uuid not null primary key,
  workflow_id integer not null,
  ended_at timestamptz not null default now()
);

create table ready (
  destination_id integer not null,  -- 0: not yet known
  run_at timestamptz not null default now(),
  run_id uuid not null,
  sweeps smallint not null default 0,
  primary key (destination_id, run_at, run_id)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 50000);

create table timers (
  due_at timestamptz not null,
  run_id uuid not null,
  sweeps smallint not null default 0,
  primary key (due_at, run_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

create table sessions (
  id bigint generated always as identity primary key,
  node text not null,
  started_at timestamptz not null default now(),
  beat_at timestamptz not null default now()
);

create table claims (
  run_id uuid not null primary key,
  claim_id bigint not null,
  session_id bigint not null,
  claimed_at timestamptz not null default now(),
  sweeps smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
alter table inbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                       autovacuum_vacuum_cost_delay = 0);

-- The event ledger. Each lane is one connection of one session, so no two writers share a row; the
-- counts change in the transaction that does the work and so always agree with it.
create table ledger (
  session_id bigint not null,
  lane smallint not null,
  stored bigint not null default 0,
  duplicates bigint not null default 0,
  routed bigint not null default 0,
  ignored bigint not null default 0,
  runs bigint not null default 0,
  completed bigint not null default 0,
  faulted bigint not null default 0,
  cancelled bigint not null default 0,
  primary key (session_id, lane)
) with (fillfactor = 50);

-- Rows whose day has no partition (a clock far off, or upkeep that did not run) land here rather
-- than being refused. Upkeep alarms when one of these is not empty.
create table events_default partition of events default;
create table dedupe_default partition of dedupe default;
create table ignored_default partition of ignored default;
create table runs_default partition of runs default;
create table journal_default partition of journal default;
