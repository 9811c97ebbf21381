-- Points of one series between two instants, in order: all of them where they are few, else in each of many equal spans the
-- lowest and the highest, of what is suspect too, and a gap. A chart cannot tell the difference, and memory can.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::bigint AS task_id, $2::text AS series, $3::timestamptz AS since, $4::timestamptz AS until, $5::integer AS spans
), point AS (
  SELECT o.*, CASE WHEN p.spans IS NULL THEN NULL
                   ELSE width_bucket(extract(epoch FROM o.at), extract(epoch FROM p.since), extract(epoch FROM p.until) + 0.001, p.spans) END AS span
    FROM parameter p JOIN observation o ON o.task_id = p.task_id AND o.series = p.series AND o.at >= p.since AND o.at <= p.until
), ranked AS (
  SELECT o.*, CASE WHEN o.span IS NOT NULL THEN row_number() OVER (PARTITION BY o.span, o.value IS NULL, o.suspect IS NULL ORDER BY o.value, o.at) END AS from_low,
         CASE WHEN o.span IS NOT NULL THEN row_number() OVER (PARTITION BY o.span, o.value IS NULL, o.suspect IS NULL ORDER BY o.value DESC, o.at) END AS from_high
    FROM point o
)
SELECT o.at, o.value::text AS number, o.kind, o.run_id, o.suspect, o.breach, o.verdict, o.verdict_by, o.note
  FROM ranked o
 WHERE o.span IS NULL OR o.from_low = 1 OR o.from_high = 1
 ORDER BY o.at;
