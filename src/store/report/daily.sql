-- Days and what became of each task on them, newest first.
WITH parameter AS (SELECT $1::text AS task, $2::timestamptz AS since)
SELECT to_json(d)::text AS json, ARRAY(SELECT value FROM json_each_text(to_json(d))) AS cells
  FROM (SELECT v.day, v.task, v.runs, v.success_rate, v.failed + v.timed_out + v.lost AS failures, v.skipped, v.missed,
               round(v.duration_p50_ms::numeric, 1) AS duration_p50_ms, round(v.duration_p95_ms::numeric, 1) AS duration_p95_ms,
               round(v.start_delay_p50_ms::numeric, 1) AS start_delay_p50_ms,
               round(v.start_delay_p95_ms::numeric, 1) AS start_delay_p95_ms
          FROM parameter p, dropcron_report.daily v
         WHERE v.day >= (p.since AT TIME ZONE 'UTC')::date AND (p.task IS NULL OR v.task = p.task)
         ORDER BY v.day DESC, v.task, v.task_id) d;
