-- Spans of instants that nobody ran, newest first.
WITH parameter AS (SELECT $1::text AS task, $2::timestamptz AS since)
SELECT to_json(d)::text AS json, ARRAY(SELECT value FROM json_each_text(to_json(d))) AS cells
  FROM (SELECT to_char(v.scheduled_for AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS scheduled_for,
               to_char(v.missed_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS missed_until, v.task, v.missed_count,
               v.reason, v.detail
          FROM parameter p, dropcron_report.missed v
         WHERE v.scheduled_for >= p.since AND (p.task IS NULL OR v.task = p.task)
         ORDER BY v.scheduled_for DESC, v.run_id DESC) d;
