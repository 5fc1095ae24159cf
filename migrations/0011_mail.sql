-- What runs hear of each other and of the world while they are open.

-- Mail: what is addressed to one run. A row is deleted by the settlement of the run that took it
-- in, so that it is neither lost nor taken twice. Kinds: 0 an event (the row of `events` with this
-- id, no content), 1 a command of a person, 2 the end of a child.
create table mail (
  run_id uuid not null,
  id uuid not null,
  kind smallint not null,
  content bytea,
  primary key (run_id, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

-- Runs that listen. The key is a digest of a filter of a definition and, where the listen
-- correlates, of the values it expects: an event finds its listeners by a probe, however many runs
-- wait. Read by key when events are routed, by run when the run goes on.
create table listeners (
  run_id uuid not null,
  key uuid not null,
  primary key (run_id, key)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
create index listeners_key on listeners (key, run_id);

-- The filters that runs have ever listened with: a few rows for each definition, which nodes keep
-- in memory. The revision changes with them in one transaction; a router that does not know the
-- latest one learns it before it routes, so no listen that had begun is missed.
create table listening (
  workflow_id integer not null,
  reference text not null,          -- the task
  filter smallint not null,         -- which of its filters
  primary key (workflow_id, reference, filter)
);
create table listening_revision (
  one boolean primary key default true check (one),
  number bigint not null default 0
);
insert into listening_revision default values;

-- A run that gets mail while it waits is woken before its time.
create index timers_run on timers (run_id);

-- The run that published an event. Only those rows are in the index.
alter table events add column published_by uuid;
create index events_published on events (id) where published_by is not null;
