-- What starts runs together.

-- Events that a workflow has been given and that do not suffice to start it yet. Rows are never
-- changed: the ones that a start uses are deleted with it, by whoever locks all of them. Those in
-- `gathered_new` were not looked at yet.
create table gathered (
  workflow_id integer not null,
  group_id uuid not null,           -- what events that belong together have in common
  event_id uuid not null,
  filters bigint not null,          -- the filters it has passed, one bit for each
  primary key (workflow_id, group_id, event_id)
);
create table gathered_new (
  workflow_id integer not null,
  group_id uuid not null,
  event_id uuid not null,
  primary key (workflow_id, group_id, event_id)
);
