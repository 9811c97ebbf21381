-- Writes judgements. A point that was judged meanwhile, or is another one by now, stays as it is: hence each breach comes back
-- once, to one node. One that somebody holds a lock on waits for the next look, and keeps no other waiting. A shift that lasts
-- breaks an expectation at every run: the task's channels are told of its beginning, in this very statement.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::boolean[])
    AS i(task_id, series, at, recorded_at, suspect, breach)
), locked AS (
  SELECT o.task_id, o.series, o.at FROM observation o JOIN input i USING (task_id, series, at, recorded_at)
   WHERE o.judged_at IS NULL ORDER BY o.task_id, o.series, o.at FOR NO KEY UPDATE OF o SKIP LOCKED
), judged AS (
  UPDATE observation o SET judged_at = clock_timestamp(), suspect = i.suspect, breach = i.breach
    FROM input i JOIN locked l USING (task_id, series, at)
   WHERE o.task_id = i.task_id AND o.series = i.series AND o.at = i.at AND o.recorded_at = i.recorded_at AND o.judged_at IS NULL
  RETURNING o.task_id, o.series, o.at, o.run_id, o.value, o.suspect, o.breach
), begun AS (
  SELECT f.* FROM (SELECT DISTINCT ON (task_id, series) * FROM judged WHERE breach ORDER BY task_id, series, at) f
   WHERE NOT coalesce((SELECT p.breach AND p.verdict IS NULL FROM observation p
                        WHERE p.task_id = f.task_id AND p.series = f.series AND p.at < f.at ORDER BY p.at DESC LIMIT 1), false)
), told AS (
  SELECT add_value_deliveries('breach', array_agg(task_id), array_agg(run_id), array_agg(at),
                              array_agg(format('%s: %s', series, suspect)))
    FROM begun HAVING count(*) > 0
)
-- What nothing reads is not done: hence the count.
SELECT j.task_id, (SELECT t.name FROM task t WHERE t.task_id = j.task_id) AS task_name, j.series, j.at, j.run_id,
       j.value::text AS number, j.suspect, j.breach, (SELECT count(*) FROM told) AS told
  FROM judged j;
