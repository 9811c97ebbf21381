-- Points, newest first; of all tasks or those of a name, of all series or one. Each series is read by the primary key, and
-- which series there are is found by skipping from one to the next.
WITH RECURSIVE parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::text AS series, $3::timestamptz AS since, $4::boolean AS open_only, $5::bigint AS row_limit
), named AS (
  SELECT t.task_id, t.name, t.expectations, s.series
    FROM parameter p JOIN task t ON p.task_name IS NULL OR t.name = p.task_name
    CROSS JOIN LATERAL (
      SELECT o.series FROM observation o
       WHERE o.task_id = t.task_id AND o.series >= coalesce(p.series, '') ORDER BY o.series LIMIT 1) s
  UNION ALL
  SELECT n.task_id, n.name, n.expectations, s.series
    FROM named n, parameter p, LATERAL (
      SELECT o.series FROM observation o WHERE o.task_id = n.task_id AND o.series > n.series ORDER BY o.series LIMIT 1) s
   WHERE p.series IS NULL
)
SELECT n.task_id, n.name AS task_name, o.series, o.at, o.value::text AS number, o.kind, o.run_id, o.attempt, o.script_sha256,
       o.recorded_at, o.judged_at, o.suspect, o.breach, o.verdict, o.verdict_by, o.verdict_at, o.note,
       (SELECT e->>'unit' FROM jsonb_array_elements(n.expectations) e WHERE e->>'series' = o.series LIMIT 1) AS unit
  FROM parameter p JOIN named n ON p.series IS NULL OR n.series = p.series
  CROSS JOIN LATERAL (
    SELECT * FROM observation o
     WHERE o.task_id = n.task_id AND o.series = n.series AND o.at >= p.since
       AND (NOT p.open_only OR (o.suspect IS NOT NULL AND o.verdict IS NULL))
     ORDER BY o.at DESC LIMIT p.row_limit) o
 ORDER BY o.at DESC, n.name, o.series
 LIMIT (SELECT row_limit FROM parameter);
