-- Series of all tasks or of one, each with its newest points. Which there are is found by skipping from one to the next.
WITH RECURSIVE parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::integer AS recent_limit
), named AS (
  SELECT t.task_id, t.name, t.expectations, s.series
    FROM parameter p JOIN task t ON (p.task_name IS NULL OR t.name = p.task_name) AND t.retired_at IS NULL AND t.source <> 'trial'
    CROSS JOIN LATERAL (SELECT o.series FROM observation o WHERE o.task_id = t.task_id ORDER BY o.series LIMIT 1) s
  UNION ALL
  SELECT n.task_id, n.name, n.expectations, s.series
    FROM named n, LATERAL (
      SELECT o.series FROM observation o WHERE o.task_id = n.task_id AND o.series > n.series ORDER BY o.series LIMIT 1) s
)
SELECT n.task_id, n.name AS task, n.series,
       (SELECT e.value FROM jsonb_array_elements(n.expectations) e WHERE e->>'series' = n.series LIMIT 1)::text AS expectation,
       r.recent, EXISTS (SELECT FROM stale_series x WHERE x.task_id = n.task_id AND x.series = n.series) AS is_stale,
       EXISTS (SELECT FROM observation o WHERE o.task_id = n.task_id AND o.series = n.series AND o.suspect IS NOT NULL AND o.verdict IS NULL)
         AS has_open
  FROM named n
 CROSS JOIN LATERAL (
   SELECT coalesce(json_agg(json_build_object('at', o.at, 'value', o.value) ORDER BY o.at), '[]')::text AS recent
     FROM (SELECT o.at, o.value FROM observation o WHERE o.task_id = n.task_id AND o.series = n.series
            ORDER BY o.at DESC LIMIT (SELECT recent_limit FROM parameter)) o) r
 ORDER BY n.name, n.series;
