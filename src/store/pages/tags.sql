-- Tags of the tasks whose file is there, by name, and how many tasks have each; trials are left out.
SELECT tag, count(*) AS tasks FROM task t, unnest(t.tags) AS tag
 WHERE t.retired_at IS NULL AND t.source <> 'trial'
 GROUP BY tag ORDER BY tag LIMIT $1::bigint;
