-- Their files are gone: no more instants, history stays.
WITH retired AS (
  UPDATE task SET retired_at = clock_timestamp() WHERE task_id = ANY ($1::bigint[]) AND retired_at IS NULL
  RETURNING task_id, name
)
INSERT INTO task_event (task_id, task_name, actor, kind) SELECT task_id, name, 'syncer', 'retired' FROM retired;
