-- What a person says of a point; the point as it is then. No row: there is no such point.
WITH parameter AS (
  SELECT $1::text AS task_name, $2::text AS series, $3::timestamptz AS at, $4::text AS verdict, $5::text AS verdict_by, $6::text AS note
)
UPDATE observation o
   SET verdict = p.verdict, verdict_by = p.verdict_by, verdict_at = clock_timestamp(), note = p.note,
       judged_at = coalesce(o.judged_at, clock_timestamp())
  FROM parameter p JOIN task t ON t.name = p.task_name
 WHERE o.task_id = t.task_id AND o.series = p.series AND o.at = p.at
RETURNING o.value::text AS number, o.suspect;
