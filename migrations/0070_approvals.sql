-- Questions that people answer.

-- One row for each approval of a run, written by the settlement that asks and changed by those that
-- take decisions in. An approval of a run that has ended is over, whatever its row says. `ask` and
-- `decisions` are JSON, never looked into here.
create table approvals (
  id uuid primary key,
  run_id uuid not null,
  workflow_id integer not null,
  reference text not null,          -- the task
  iteration text not null,
  status text not null check (status in ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
  ask bytea not null,
  decisions bytea not null,
  requested_at timestamptz not null,
  expires_at timestamptz not null,
  closed_at timestamptz
);
create index approvals_pending on approvals (id) where status = 'pending';
create index approvals_run on approvals (run_id);

-- The links of approvers: SHA-256 of the token, and which of the approvers it was made for. A
-- database that was read opens none of them.
create table approval_links (
  digest bytea primary key,
  approval_id uuid not null references approvals on delete cascade,
  approver smallint not null
);
create index approval_links_approval on approval_links (approval_id);
