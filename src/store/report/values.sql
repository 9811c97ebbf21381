-- The numbers of each series, day by day, newest first.
WITH parameter AS (SELECT $1::text AS task, $2::timestamptz AS since)
SELECT to_json(d)::text AS json, ARRAY(SELECT value FROM json_each_text(to_json(d))) AS cells
  FROM (SELECT v.day, v.task, v.series, v.points, v.low, v.high, round(v.mean, 4) AS mean, v.last, v.suspects
          FROM parameter p, dropcron_report.values_daily v
         WHERE v.day >= (p.since AT TIME ZONE 'UTC')::date AND (p.task IS NULL OR v.task = p.task)
         ORDER BY v.day DESC, v.task, v.series, v.task_id) d;
