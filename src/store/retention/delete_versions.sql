-- Script versions that were last used before runs are kept, and that no row names. The cheap conditions come first: most
-- passes find nothing that the last one has to be asked about.
WITH parameter AS (
  SELECT clock_timestamp() - make_interval(secs => $1::double precision) AS until
), candidate AS MATERIALIZED (
  SELECT v.sha256
    FROM parameter p, script_version v
   WHERE v.first_seen_at < p.until AND coalesce(v.last_used_on < (p.until AT TIME ZONE 'UTC')::date, true)
     AND NOT EXISTS (SELECT FROM task t WHERE t.script_sha256 = v.sha256)
)
DELETE FROM script_version v USING candidate c
 WHERE v.sha256 = c.sha256
   AND NOT EXISTS (SELECT FROM observation o WHERE o.script_sha256 = v.sha256)
   AND NOT EXISTS (SELECT FROM run_log r WHERE r.script_sha256 = v.sha256);
