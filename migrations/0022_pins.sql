-- The operations of API documents that a workflow calls, as they were when it was deployed: a JSON
-- array of {document, operationId, operation}. Null where it calls none.
alter table workflows add column pins bytea;
