-- The run that was just asked for is to be one of another version.
WITH parameter AS (SELECT $1::bigint AS run_id, $2::bytea AS sha256), pinned AS (
  UPDATE run_lease l SET script_sha256 = p.sha256 FROM parameter p WHERE l.run_id = p.run_id
)
UPDATE run_log r SET script_sha256 = p.sha256, is_pinned = true FROM parameter p WHERE r.run_id = p.run_id;
