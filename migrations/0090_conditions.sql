-- What all nodes know about destinations that had trouble: a row for each, none for the others.
-- Changed when a destination goes down, is tried or comes up, and when it asks to be left alone.
create table conditions (
  destination_id integer primary key,   -- destinations.number
  changes integer not null default 0,   -- went down or came up so many times; odd: it is down
  told integer not null default 0,      -- of these changes so many are in the log as events
  since timestamptz not null default now(),  -- of the last change
  cause text,                           -- why it is down, or was
  probes integer not null default 0,    -- calls that were let through since and failed
  retry_at timestamptz,                 -- not before then is a call let through
  probe_session bigint,                 -- which node may let it through ...
  probe_until timestamptz,              -- ... until then
  held_until timestamptz                -- it asked to be left alone
);

-- Runs that wait for a destination are found by their id when they get mail. Runs on their way
-- elsewhere are not in it.
create index ready_parked on ready (run_id) where destination_id <> 0;
