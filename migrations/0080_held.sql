-- Events of sources that are paused: out of the way of the inbox, which routers read all the time.

create table held (
  source text not null,             -- the event's source
  event_id uuid not null,           -- version 7: sorts by the time of receipt
  primary key (source, event_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
