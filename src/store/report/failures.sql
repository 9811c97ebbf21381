-- Runs that failed for good, newest first: without attempts that another one followed.
WITH parameter AS (SELECT $1::text AS task, $2::timestamptz AS since)
SELECT to_json(d)::text AS json, ARRAY(SELECT value FROM json_each_text(to_json(d))) AS cells
  FROM (SELECT to_char(v.scheduled_for AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS scheduled_for, v.run_id, v.task, v.status,
               v.reason, v.attempt, round(v.duration_ms::numeric, 1) AS duration_ms, v.error_type, v.error_line
          FROM parameter p, dropcron_report.runs v
         WHERE v.scheduled_for >= p.since AND (p.task IS NULL OR v.task = p.task) AND v.status IN ('failed', 'timed_out', 'lost')
           AND NOT EXISTS (SELECT FROM dropcron_report.runs a
                            WHERE a.task_id = v.task_id AND a.scheduled_for = v.scheduled_for AND a.attempt > v.attempt)
         ORDER BY v.scheduled_for DESC, v.run_id DESC) d;
