-- Deliveries that were refused for their signature, so that they can be verified again once the
-- cause is gone. Bounded in number, in bytes and in age by whoever writes them; never read or
-- written on the way of a delivery that is taken.

create table rejections (
  id uuid not null primary key,     -- version 7: sorts by the time of receipt
  received_at timestamptz not null default now(),
  source text not null,             -- name of the source
  cause text not null,              -- which check failed
  method text not null,
  version integer not null,         -- what the seal of the head says beside the id
  kek_id text not null,
  wrapped_key bytea not null,
  head bytea not null,              -- sealed: path, query and headers, which may hold credentials
  body bytea not null               -- byte for byte
);

create index rejections_by_source on rejections (source, id);
