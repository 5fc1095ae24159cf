-- Duplicates are kept beside refused deliveries, so that one that was meant can still be let in.

alter table rejections
  add column kind smallint not null default 0,  -- 0: refused, 1: a duplicate
  add column duplicate_of uuid;                 -- the event it duplicates

drop index rejections_by_source;
create index rejections_by_kind on rejections (kind, id);
create index rejections_by_source on rejections (kind, source, id);
create index rejections_by_event on rejections (duplicate_of, id) where duplicate_of is not null;
