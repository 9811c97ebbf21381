-- Partitions that hold only what is older than it is to be kept, oldest first.
WITH parameter AS (
  SELECT $1::double precision AS output_seconds, $2::double precision AS runs_seconds
)
SELECT m.partition, m.log, m.begins_at, m.ends_at, coalesce(partition_rows(m.partition), 0) AS row_count,
       coalesce(pg_total_relation_size(to_regclass(format('%I.%I', current_schema(), m.partition))), 0) AS bytes
  FROM parameter p, partitions() m
 WHERE m.ends_at < clock_timestamp() - make_interval(secs => CASE m.log WHEN 'run_log' THEN p.runs_seconds ELSE p.output_seconds END)
 ORDER BY m.log, m.begins_at;
