-- Gates: how many runs of a workflow are open at once, for each value of a key.
--
-- The counts change under the lock of their row, together with the rows of `gate_runs`.
create table gates (
  id bigint generated always as identity primary key,
  namespace text not null,
  name text not null,
  key uuid not null,
  runs_max integer not null,        -- as the last run that came said
  running integer not null default 0,
  waiting integer not null default 0,
  touched_at timestamptz not null default now(),
  unique (namespace, name, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
create index gates_waiting on gates (id) where waiting > 0;

-- Runs that have come to a gate and not ended. One that waits stands in `ready` at a time far off.
create table gate_runs (
  run_id uuid not null primary key,
  gate_id bigint not null,
  entered boolean not null,
  priority smallint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
create index gate_runs_waiting on gate_runs (gate_id, priority desc, run_id) where not entered;
