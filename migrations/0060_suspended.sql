-- Runs that a person has suspended. They wait like others, in `timers`, or are claimed while
-- what they had begun ends; this only says which they are. Written and deleted by the settlement of
-- the entry that says so, and with the run's end.
create table suspended (
  run_id uuid not null primary key,
  since timestamptz not null default now()
);
