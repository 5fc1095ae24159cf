-- What APIs announce about themselves in their answers: that an operation is deprecated, when it
-- ends, that something is to be known. A row for each task that calls such an operation.
create table changes (
  host text not null,
  kind text not null,               -- deprecation, sunset, warning
  workflow_id integer not null,
  reference text not null,          -- the task
  destination text,                 -- its name, where the host is of a declared one
  text text not null,               -- as announced
  link text,                        -- where more is said
  effective_at timestamptz,         -- since when it is deprecated, or when it ends
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  primary key (host, kind, workflow_id, reference)
);
