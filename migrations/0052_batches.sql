-- Events gathered for one run: `document.metadata.batch` and `debounce`.
--
-- A batch stays while events come; what is due becomes the input of a run, and `version` is raised
-- by whoever takes it, so that nobody else does.
create table batches (
  id bigint generated always as identity primary key,
  namespace text not null,
  name text not null,
  key uuid not null,
  workflow_id integer not null,     -- the version that matched the last event
  version integer not null default 0,
  events integer not null default 0,
  bytes bigint not null default 0,
  begun_at timestamptz not null default now(),
  due_at timestamptz not null default now(),
  unique (namespace, name, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
create index batches_due on batches (due_at) where events > 0;

create table batch_events (
  batch_id bigint not null,
  event_id uuid not null,
  primary key (batch_id, event_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
