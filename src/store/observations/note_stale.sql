-- Brings stale_series in line with the newest numbers, and gives those that are stale now and were not, of which the channels of
-- their tasks are told.
WITH expected AS (
  -- Whatever somebody wrote into the column in psql: it must not keep others from being looked at.
  SELECT t.task_id, t.name, t.updated_at, e.expectation->>'series' AS series,
         CASE jsonb_typeof(e.expectation->'stale_after_seconds')
           WHEN 'number' THEN least((e.expectation->>'stale_after_seconds')::numeric, 1e12)::double precision END AS stale_after_seconds
    FROM task t CROSS JOIN LATERAL jsonb_array_elements(t.expectations) AS e(expectation)
   WHERE t.expectations <> '[]' AND t.retired_at IS NULL AND t.paused_at IS NULL AND t.enabled
), stale AS (
  SELECT DISTINCT ON (e.task_id, e.series) e.task_id, e.name, e.series, n.at AS last_at, e.stale_after_seconds
    FROM expected e
    LEFT JOIN LATERAL (
      SELECT o.at FROM observation o
       WHERE o.task_id = e.task_id AND o.series = e.series AND o.value IS NOT NULL AND o.at <= clock_timestamp()
         AND o.verdict IS DISTINCT FROM 'rejected'
       ORDER BY o.at DESC LIMIT 1) n ON true
   -- A series that never had a number has had time since its task was last changed.
   WHERE e.series IS NOT NULL AND e.stale_after_seconds > 0
     AND extract(epoch FROM clock_timestamp() - coalesce(n.at, e.updated_at)) > e.stale_after_seconds
), fresh AS (
  DELETE FROM stale_series k WHERE NOT EXISTS (SELECT 1 FROM stale s WHERE s.task_id = k.task_id AND s.series = k.series)
), noted AS (
  INSERT INTO stale_series (task_id, series, last_at)
  SELECT task_id, series, last_at FROM stale ORDER BY task_id, series
  ON CONFLICT (task_id, series) DO NOTHING
  RETURNING task_id, series, last_at
), told AS (
  SELECT add_value_deliveries('stale', array_agg(n.task_id), array_agg(NULL::bigint), array_agg(n.last_at),
                              array_agg(format('%s: no new number for longer than %s', n.series,
                                               make_interval(secs => s.stale_after_seconds))))
    FROM noted n JOIN stale s USING (task_id, series) HAVING count(*) > 0
)
-- What nothing reads is not done: hence the count.
SELECT n.task_id, s.name AS task_name, n.series, n.last_at, s.stale_after_seconds, (SELECT count(*) FROM told) AS told
  FROM noted n JOIN stale s USING (task_id, series);
