-- Rate limits of destinations, shared by all nodes: a row for each destination that has one. Nodes
-- take tokens in batches, as many as they have calls for, and bring back what they did not use.
create table rates (
  destination_id integer primary key,   -- destinations.number
  tokens double precision[] not null,   -- left in each window
  granted integer not null,             -- in the last batch
  filled_at timestamptz not null default now()
) with (fillfactor = 50);

-- A destination that answers 429 and does not say when to come back: so many calls a second were
-- let through from then on, a few more with each second that passes.
alter table conditions
  add column limited_rate double precision,
  add column limited_at timestamptz;
