-- What is asked for has a lock, and its environment is there. Tasks that ask for it have it from their next run on.
WITH parameter AS (
  SELECT $1::bytea AS requirements_sha256, $2::bytea AS lock_sha256, $3::text AS content, $4::text AS python, $5::text AS log,
         $6::text AS actor
), kept AS (
  INSERT INTO package_lock (lock_sha256, content, python)
  SELECT lock_sha256, content, python FROM parameter
  ON CONFLICT DO NOTHING
), was AS MATERIALIZED (
  SELECT e.* FROM environment e JOIN parameter p USING (requirements_sha256) FOR NO KEY UPDATE OF e
), settled AS (
  UPDATE environment e SET state = 'ready', problem = NULL, lock_sha256 = p.lock_sha256, log = p.log, changed_at = clock_timestamp()
    FROM parameter p JOIN was USING (requirements_sha256) WHERE e.requirements_sha256 = p.requirements_sha256
  RETURNING e.requirements_sha256
), followed AS (
  UPDATE task t SET lock_sha256 = p.lock_sha256 FROM parameter p
   WHERE t.requirements_sha256 = p.requirements_sha256 AND t.lock_sha256 IS DISTINCT FROM p.lock_sha256
), woken AS MATERIALIZED (
  -- Files that wait for it are looked at now.
  SELECT pg_notify(current_schema() || '_wake', 'environment') FROM settled
)
INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
SELECT t.task_id, t.name, p.actor, 'environment',
       jsonb_build_object('state', w.state, 'problem', w.problem, 'lock_sha256', encode(w.lock_sha256, 'hex')),
       jsonb_build_object('state', 'ready', 'problem', NULL, 'lock_sha256', encode(p.lock_sha256, 'hex'))
  FROM parameter p JOIN settled s USING (requirements_sha256) JOIN was w USING (requirements_sha256)
  JOIN task t ON t.retired_at IS NULL
             AND (t.requirements_sha256 = p.requirements_sha256 OR t.next_requirements_sha256 = p.requirements_sha256)
 WHERE (w.state, w.lock_sha256) IS DISTINCT FROM ('ready', p.lock_sha256) AND (SELECT count(*) FROM woken) > 0;
