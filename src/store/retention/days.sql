-- Days that are to be rolled up: those that are over and were not, the last few, whose ends may have been corrected, and those that
-- got rows since. Rows that come late have high numbers, so that is a look at the end of an index.
WITH parameter AS (
  SELECT $1::bigint AS newest_run_id, $2::integer AS corrected_days, (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
), over AS (
  SELECT s.day::date AS day
    FROM parameter p, partitions() m
    CROSS JOIN LATERAL generate_series(m.begins_at AT TIME ZONE 'UTC',
                                       least(m.ends_at AT TIME ZONE 'UTC', p.today::timestamp) - interval '1 day', '1 day') AS s(day)
   WHERE m.log = 'run_log'
), later AS MATERIALIZED (
  SELECT DISTINCT (r.scheduled_for AT TIME ZONE 'UTC')::date AS day FROM run_log r WHERE r.run_id > $3::bigint
)
SELECT o.day::text AS day
  FROM parameter p, over o LEFT JOIN rolled_up_day r USING (day)
 WHERE r.day IS NULL OR o.day >= p.today - p.corrected_days
    OR (p.newest_run_id > 0 AND o.day IN (SELECT day FROM later))
 ORDER BY o.day;
