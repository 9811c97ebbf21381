-- Series that are stale, of all tasks or of one, of all series or of one.
WITH parameter AS (SELECT $1::text AS task_name, $2::text AS series)
SELECT s.task_id, t.name AS task_name, s.series, s.last_at,
       coalesce((SELECT least((e->>'stale_after_seconds')::numeric, 1e12)::double precision FROM jsonb_array_elements(t.expectations) e
                  WHERE e->>'series' = s.series AND jsonb_typeof(e->'stale_after_seconds') = 'number' LIMIT 1), 0)
         AS stale_after_seconds
  FROM parameter p JOIN stale_series s ON p.series IS NULL OR s.series = p.series
  JOIN task t ON t.task_id = s.task_id AND (p.task_name IS NULL OR t.name = p.task_name)
 ORDER BY t.name, s.series;
