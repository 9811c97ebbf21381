-- The next points of a task in the order of series and instant, after a place; for exports that read everything piece by piece.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::bigint AS task_id, $2::text AS series, $3::timestamptz AS since, $4::text AS after_series, $5::timestamptz AS after_at,
         $6::bigint AS row_limit
)
SELECT o.series, o.at, o.value::text AS number, o.kind, o.run_id, o.suspect, o.verdict
  FROM parameter p JOIN observation o ON o.task_id = p.task_id AND (o.series, o.at) > (p.after_series, p.after_at)
 WHERE (p.series IS NULL OR o.series = p.series) AND o.at >= p.since
 ORDER BY o.series, o.at
 LIMIT (SELECT row_limit FROM parameter);
