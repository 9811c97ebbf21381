-- Tasks that keep less than all tasks do, and what of theirs is to go: whole days that are rolled up.
WITH parameter AS (
  SELECT $1::double precision AS output_seconds, $2::double precision AS runs_seconds
), settled AS (
  SELECT coalesce((SELECT min(s.day) FROM partitions() m
                    CROSS JOIN LATERAL generate_series(m.begins_at AT TIME ZONE 'UTC', m.ends_at AT TIME ZONE 'UTC' - interval '1 day', '1 day') AS s(day)
                   WHERE m.log = 'run_log' AND NOT EXISTS (SELECT FROM rolled_up_day d WHERE d.day = s.day::date)),
                  (clock_timestamp() AT TIME ZONE 'UTC')::date::timestamp) AT TIME ZONE 'UTC' AS until
)
SELECT t.task_id, t.name,
       CASE WHEN t.keep_runs_seconds < coalesce(p.runs_seconds, 'infinity')
            THEN greatest(t.runs_kept_since,
                          least(s.until, date_trunc('day', (clock_timestamp() - make_interval(secs => t.keep_runs_seconds)) AT TIME ZONE 'UTC')
                                AT TIME ZONE 'UTC')) END AS runs_until,
       CASE WHEN t.keep_output_seconds < coalesce(p.output_seconds, 'infinity')
            THEN greatest(t.output_kept_since, clock_timestamp() - make_interval(secs => t.keep_output_seconds)) END AS output_until,
       -- What was active at the last pass may have ended since.
       t.output_kept_since - interval '7 days' AS output_from
  FROM parameter p, settled s, task t
 WHERE t.keep_runs_seconds IS NOT NULL OR t.keep_output_seconds IS NOT NULL
 ORDER BY t.task_id;
