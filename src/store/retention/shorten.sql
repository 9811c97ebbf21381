-- Says of a task what is not kept, before it goes: whoever asks meanwhile is not told that a row should be there.
WITH parameter AS (
  SELECT $1::bigint AS task_id, $2::timestamptz AS runs_until, $3::timestamptz AS output_until
)
UPDATE task t
   SET runs_kept_since = greatest(t.runs_kept_since, p.runs_until), output_kept_since = greatest(t.output_kept_since, p.output_until)
  FROM parameter p
 WHERE t.task_id = p.task_id
   AND (t.runs_kept_since IS DISTINCT FROM greatest(t.runs_kept_since, p.runs_until)
        OR t.output_kept_since IS DISTINCT FROM greatest(t.output_kept_since, p.output_until));
