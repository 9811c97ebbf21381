-- What is asked for cannot be had. An environment that is ready stays so: nothing that ran stops for a failed upgrade.
WITH parameter AS (
  SELECT $1::bytea AS requirements_sha256, $2::text AS problem, $3::text AS log
), was AS MATERIALIZED (
  SELECT e.* FROM environment e JOIN parameter p USING (requirements_sha256) WHERE e.state <> 'ready' FOR NO KEY UPDATE OF e
), failed AS (
  UPDATE environment e SET state = 'needs_attention', problem = p.problem, log = p.log, changed_at = clock_timestamp()
    FROM parameter p JOIN was USING (requirements_sha256) WHERE e.requirements_sha256 = p.requirements_sha256
  RETURNING e.requirements_sha256
), told AS MATERIALIZED (
  -- The same failure is told once.
  SELECT DISTINCT ON (v.task_id) v.task_id, v.after ->> 'problem' AS problem
    FROM task_event v JOIN task t USING (task_id), parameter p
   WHERE v.kind = 'environment'
     AND (t.requirements_sha256 = p.requirements_sha256 OR t.next_requirements_sha256 = p.requirements_sha256)
   ORDER BY v.task_id, v.at DESC
)
INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
SELECT t.task_id, t.name, 'syncer', 'environment', jsonb_build_object('state', w.state),
       jsonb_build_object('state', 'needs_attention', 'problem', p.problem)
  FROM parameter p JOIN failed f USING (requirements_sha256) JOIN was w USING (requirements_sha256)
  JOIN task t ON t.retired_at IS NULL
             AND (t.requirements_sha256 = p.requirements_sha256 OR t.next_requirements_sha256 = p.requirements_sha256)
  LEFT JOIN told o ON o.task_id = t.task_id
 WHERE o.problem IS DISTINCT FROM p.problem;
