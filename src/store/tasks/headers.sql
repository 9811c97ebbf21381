-- The header in force of every task that is not retired, or of the one of a name.
WITH parameter AS (SELECT $1::text AS name)
SELECT t.task_id, t.header::text AS header
  FROM parameter p JOIN task t ON t.retired_at IS NULL AND (p.name IS NULL OR t.name = p.name);
