-- What is open of long runs, so that replaying them costs what is open, not what has been. A cache:
-- each row follows from the journal rows before `seq`, and a run without one is replayed in full.
-- At most one row a run, gone when the run has ended; retention takes what a crash has left.

create table checkpoints (
  run_id uuid not null primary key,
  seq integer not null,             -- the journal row that comes next
  state bytea not null              -- as run::checkpoint wrote it
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0,
        toast.autovacuum_vacuum_threshold = 5000);
