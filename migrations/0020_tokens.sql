-- Access tokens, shared by all nodes. A row is leased while one node asks for a new token, so that
-- the others wait for it; no transaction is open meanwhile.

create table tokens (
  key bytea primary key,            -- SHA-256 of what the token is asked for with
  holder uuid,                      -- who has leased it
  leased_until timestamptz not null,
  version integer not null default 0,
  kek_id text,
  wrapped_key bytea,
  sealed bytea,                     -- the token, and the refresh token that came with it
  fresh_until timestamptz,
  renewable boolean not null default false  -- it holds a refresh token, which must not be lost
);
