-- A file with equal content under another name: its task goes along.
WITH input AS (
  SELECT $1::bigint AS task_id, $2::text AS name, $3::text AS script_path
), renamed AS (
  UPDATE task t SET name = i.name, script_path = i.script_path FROM input i JOIN task o USING (task_id)
   WHERE t.task_id = i.task_id
  RETURNING t.task_id, t.name, o.name AS was
)
INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
SELECT task_id, name, 'syncer', 'renamed', jsonb_build_object('name', was), jsonb_build_object('name', name) FROM renamed;
