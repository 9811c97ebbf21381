-- What there is of one series between two instants.
WITH parameter AS NOT MATERIALIZED (SELECT $1::bigint AS task_id, $2::text AS series, $3::timestamptz AS since, $4::timestamptz AS until)
SELECT count(*) AS points, count(*) FILTER (WHERE o.value IS NULL) AS gaps,
       min(o.value) FILTER (WHERE o.verdict IS DISTINCT FROM 'rejected')::text AS low,
       max(o.value) FILTER (WHERE o.verdict IS DISTINCT FROM 'rejected')::text AS high,
       min(o.at) AS first_at, max(o.at) AS last_at
  FROM parameter p JOIN observation o ON o.task_id = p.task_id AND o.series = p.series AND o.at >= p.since AND o.at <= p.until;
