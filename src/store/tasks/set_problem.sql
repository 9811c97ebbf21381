-- A broken edit: the problem shows, everything else stays in force. An empty text clears it.
WITH input AS (
  SELECT i.task_id, nullif(i.problem, '') AS problem
    FROM unnest($1::bigint[], $2::text[]) AS i(task_id, problem)
), changed AS (
  UPDATE task t SET problem = i.problem FROM input i JOIN task o USING (task_id)
   WHERE t.task_id = i.task_id AND t.problem IS DISTINCT FROM i.problem
  RETURNING t.task_id, t.name, o.problem AS was, t.problem
)
INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
SELECT task_id, name, 'syncer', CASE WHEN problem IS NULL THEN 'healed' ELSE 'problem' END,
       jsonb_build_object('problem', was), jsonb_build_object('problem', problem)
  FROM changed;
