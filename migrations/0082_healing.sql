-- Healing: asking senders for what was missed. One node asks for a source at a time.

create table healing (
  source text not null primary key,
  due_at timestamptz not null       -- whoever moves it on has the turn
);

-- What senders were asked to send again, so that they are asked once.
create table healed (
  source text not null,
  key bytea not null,               -- SHA-256 of the URI that asks
  at timestamptz not null default now(),
  primary key (source, key)
);
