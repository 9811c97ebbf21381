-- The change was recorded, and then not made.
DELETE FROM audit WHERE audit_id = $1::bigint;
