-- Takes or renews a duty; no row: another node holds it.
WITH parameter AS (
  SELECT $1::text AS duty, $2::uuid AS node_id, $3::double precision AS hold_seconds
)
INSERT INTO duty AS d (duty, node_id, held_until)
SELECT duty, node_id, clock_timestamp() + make_interval(secs => hold_seconds) FROM parameter
ON CONFLICT (duty) DO UPDATE SET node_id = excluded.node_id, held_until = excluded.held_until
 WHERE d.node_id = excluded.node_id OR d.held_until < clock_timestamp()
    OR NOT EXISTS (SELECT 1 FROM node n WHERE n.node_id = d.node_id AND n.state IN ('live', 'draining'))
RETURNING d.held_until;
