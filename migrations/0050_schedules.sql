-- Schedules: one row a workflow that time starts, about the version that is active.
--
-- A tick is a change of `due_at` from the time in hand to the next one, in the statement that
-- appends its event: whoever changes it has the tick, and nobody else can. Times are the database's.
create table schedules (
  namespace text not null,
  name text not null,
  workflow_id integer not null,     -- with activated_at: the deployment this row is about
  activated_at timestamptz not null,
  due_at timestamptz,               -- of the next tick; null: the run before has to end first
  after_us bigint,                  -- from the end of a run to the next tick, in microseconds
  held boolean not null default false, -- the tick is due and waits for the end of the run before
  paused_at timestamptz,
  last_due_at timestamptz,          -- of the last tick that started a run ...
  last_started_at timestamptz,
  last_event_id uuid,               -- ... as this event
  last_run_id uuid,                 -- ... and this run
  started bigint not null default 0,
  skipped bigint not null default 0,
  missed bigint not null default 0,
  primary key (namespace, name)
);
create index schedules_due on schedules (due_at) where paused_at is null;
