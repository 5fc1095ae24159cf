-- Definitions and settings: small tables, changed by people.

create table environment (
  one boolean primary key default true check (one),
  name text not null,
  created_at timestamptz not null default now()
);

-- Changed with every change of a definition; nodes watch it and reload.
create table revision (
  one boolean primary key default true check (one),
  number bigint not null default 0
);
insert into revision default values;

create table workflows (
  id integer generated always as identity primary key,
  namespace text not null,
  name text not null,
  version text not null,
  text text not null,
  digest bytea not null,            -- SHA-256 of the document as data
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  unique (namespace, name, version)
);

-- Which version of a workflow is active: it alone has triggers. `latest` means it.
create table deployments (
  namespace text not null,
  name text not null,
  workflow_id integer not null references workflows (id),
  activated_at timestamptz not null default now(),
  primary key (namespace, name)
);

create table sources (
  id integer generated always as identity primary key,
  name text not null,
  version integer not null,
  text text not null,
  created_at timestamptz not null default now(),
  active boolean not null default true,
  unique (name, version)
);
create unique index sources_active on sources (name) where active;

-- `number` is the destination's queue: it stays the same over versions.
create table destinations (
  id integer generated always as identity primary key,
  number integer not null,
  name text not null,
  version integer not null,
  text text not null,
  created_at timestamptz not null default now(),
  active boolean not null default true,
  unique (name, version)
);
create unique index destinations_active on destinations (name) where active;
create sequence destination_number as integer;

create table secrets (
  name text primary key,
  version integer not null,
  kek_id text not null,
  wrapped_key bytea not null,
  sealed bytea not null,
  updated_at timestamptz not null default now()
);

create table api_keys (
  id text primary key,
  name text not null,
  digest bytea not null,            -- SHA-256 of the key's random part
  role text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
