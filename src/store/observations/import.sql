-- Points of the past, as somebody has them; they are not judged. Of two for one instant the later line counts. Points that are
-- there stay, unless they are to be replaced.
WITH parameter AS (
  SELECT $1::bigint AS task_id, $2::text AS imported_by, $3::boolean AS replace
), input AS (
  SELECT DISTINCT ON (i.series, i.at) i.*
    FROM unnest($4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[])
      WITH ORDINALITY AS i(series, at, kind, number, verdict, line)
   ORDER BY i.series, i.at, i.line DESC
), written AS (
  INSERT INTO observation AS o (task_id, series, at, value, kind, judged_at, verdict, verdict_by, verdict_at)
  SELECT p.task_id, i.series, i.at, i.number::numeric, i.kind, clock_timestamp(), i.verdict,
         CASE WHEN i.verdict IS NOT NULL THEN p.imported_by END, CASE WHEN i.verdict IS NOT NULL THEN clock_timestamp() END
    FROM input i, parameter p
  ON CONFLICT (task_id, series, at) DO UPDATE
     SET (value, kind, run_id, attempt, script_sha256, recorded_at, judged_at, suspect, breach, verdict, verdict_by, verdict_at, note) =
         (SELECT excluded.value, excluded.kind, excluded.run_id, excluded.attempt, excluded.script_sha256, excluded.recorded_at,
                 excluded.judged_at, excluded.suspect, excluded.breach, excluded.verdict, excluded.verdict_by, excluded.verdict_at,
                 excluded.note)
   WHERE (SELECT replace FROM parameter)
  RETURNING 1
)
SELECT count(*) AS written FROM written;
