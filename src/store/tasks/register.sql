-- Brings tasks in line with their files: new ones are made, known ones (also retired ones of the same name) follow.
-- Each change leaves a task event. Operators' columns are not touched.
WITH input AS (
  SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS i(
    name text, source text, script_path text, script_kind text, script_sha256 text, is_async boolean, schedule text[],
    timezone text, enabled boolean, timeout_seconds double precision, retry_max integer, retry_delay_seconds double precision,
    retry_backoff double precision, retry_cap_seconds double precision, retry_on text[], overlap text, max_running smallint,
    concurrency_group text, queue text, required_tags text[], missed text, grace_seconds double precision,
    catch_up_limit integer, jitter_seconds double precision, env text[], secrets text[], args jsonb,
    keep_return_value boolean, limits jsonb, expectations jsonb, description text, owner text, tags text[], header jsonb, problem text, notify_after integer, notify_recovery boolean, notify_to text[],
    late_after_seconds double precision, keep_output_seconds double precision, keep_runs_seconds double precision,
    python text, requires_python text, requirements_sha256 text)
), parameter AS (
  SELECT $2::text AS actor
), known AS MATERIALIZED (
  SELECT t.* FROM input i CROSS JOIN LATERAL (
    SELECT * FROM task t WHERE t.name = i.name AND t.source = i.source
     ORDER BY t.retired_at IS NOT NULL, t.retired_at DESC, t.task_id DESC LIMIT 1) t
), edited AS (
  UPDATE task t
     SET script_path = i.script_path, script_kind = i.script_kind, script_sha256 = decode(i.script_sha256, 'hex'),
         is_async = i.is_async, schedule = i.schedule, timezone = i.timezone, enabled = i.enabled,
         timeout_seconds = i.timeout_seconds, retry_max = i.retry_max, retry_delay_seconds = i.retry_delay_seconds,
         retry_backoff = i.retry_backoff, retry_cap_seconds = i.retry_cap_seconds, retry_on = i.retry_on,
         overlap = i.overlap, max_running = i.max_running, concurrency_group = i.concurrency_group, queue = i.queue,
         required_tags = i.required_tags, missed = i.missed, grace_seconds = i.grace_seconds,
         catch_up_limit = i.catch_up_limit, jitter_seconds = i.jitter_seconds, env = i.env, secrets = i.secrets,
         args = i.args, keep_return_value = i.keep_return_value, limits = i.limits, expectations = i.expectations, description = i.description, owner = i.owner, tags = i.tags,
         header = i.header, problem = i.problem, notify_after = i.notify_after, notify_recovery = i.notify_recovery,
         notify_to = i.notify_to, late_after_seconds = i.late_after_seconds,
         keep_output_seconds = i.keep_output_seconds, keep_runs_seconds = i.keep_runs_seconds, retired_at = NULL,
         python = i.python, requires_python = i.requires_python, next_requirements_sha256 = NULL,
         requirements_sha256 = decode(i.requirements_sha256, 'hex'),
         lock_sha256 = (SELECT e.lock_sha256 FROM environment e WHERE e.requirements_sha256 = decode(i.requirements_sha256, 'hex'))
    FROM input i JOIN known k USING (name, source)
   WHERE t.task_id = k.task_id
  RETURNING t.*
), created AS (
  INSERT INTO task AS t (name, source, script_path, script_kind, script_sha256, is_async, schedule, timezone, enabled,
    timeout_seconds, retry_max, retry_delay_seconds, retry_backoff, retry_cap_seconds, retry_on, overlap, max_running,
    concurrency_group, queue, required_tags, missed, grace_seconds, catch_up_limit, jitter_seconds, env, secrets, args,
    keep_return_value, limits, expectations, description, owner, tags, header, problem, notify_after, notify_recovery, notify_to, late_after_seconds,
    keep_output_seconds, keep_runs_seconds, python, requires_python, requirements_sha256, lock_sha256)
  SELECT i.name, i.source, i.script_path, i.script_kind, decode(i.script_sha256, 'hex'), i.is_async, i.schedule, i.timezone, i.enabled,
    i.timeout_seconds, i.retry_max, i.retry_delay_seconds, i.retry_backoff, i.retry_cap_seconds, i.retry_on, i.overlap, i.max_running,
    i.concurrency_group, i.queue, i.required_tags, i.missed, i.grace_seconds, i.catch_up_limit, i.jitter_seconds, i.env, i.secrets, i.args,
    i.keep_return_value, i.limits, i.expectations, i.description, i.owner, i.tags, i.header, i.problem, i.notify_after, i.notify_recovery, i.notify_to,
    i.late_after_seconds, i.keep_output_seconds, i.keep_runs_seconds, i.python, i.requires_python, decode(i.requirements_sha256, 'hex'),
    (SELECT e.lock_sha256 FROM environment e WHERE e.requirements_sha256 = decode(i.requirements_sha256, 'hex'))
    FROM input i WHERE NOT EXISTS (SELECT 1 FROM known k WHERE k.name = i.name AND k.source = i.source)
  ON CONFLICT DO NOTHING
  RETURNING t.*
), told AS (
  INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
  SELECT e.task_id, e.name, p.actor,
         CASE WHEN k.retired_at IS NOT NULL THEN 'revived'
              WHEN k.problem IS NOT NULL AND e.problem IS NULL THEN 'healed'
              WHEN e.problem IS DISTINCT FROM k.problem THEN 'problem' ELSE 'edited' END,
         jsonb_build_object('script_sha256', encode(k.script_sha256, 'hex'), 'header', k.header, 'problem', k.problem),
         jsonb_build_object('script_sha256', encode(e.script_sha256, 'hex'), 'header', e.header, 'problem', e.problem)
    FROM edited e JOIN known k USING (task_id), parameter p
   WHERE (e.script_sha256, e.header, e.problem, e.retired_at) IS DISTINCT FROM (k.script_sha256, k.header, k.problem, k.retired_at)
  UNION ALL
  SELECT c.task_id, c.name, p.actor, 'created', NULL,
         jsonb_build_object('script_sha256', encode(c.script_sha256, 'hex'), 'header', c.header, 'problem', c.problem)
    FROM created c, parameter p
), woken AS (
  SELECT pg_notify(current_schema() || '_wake', 'task') WHERE EXISTS (SELECT 1 FROM created)
)
SELECT task_id, name FROM edited UNION ALL SELECT c.task_id, c.name FROM created c LEFT JOIN woken ON true;
