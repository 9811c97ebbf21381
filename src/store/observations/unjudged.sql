-- Points that nobody has judged yet, oldest first, with what is expected of their series.
WITH parameter AS (SELECT $1::bigint AS row_limit)
SELECT o.task_id, t.name AS task_name, o.series, o.at, o.kind, o.value::text AS number, o.recorded_at, o.run_id,
       (SELECT e::text FROM jsonb_array_elements(t.expectations) e WHERE e->>'series' = o.series LIMIT 1) AS expectation
  FROM (SELECT * FROM observation WHERE judged_at IS NULL ORDER BY recorded_at LIMIT (SELECT row_limit FROM parameter)) o
  LEFT JOIN task t USING (task_id)
 ORDER BY o.task_id, o.series, o.at;
