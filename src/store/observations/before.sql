-- The points of a series before an instant that count, newest first: neither rejected nor in breach of an expectation, unless
-- somebody accepted them.
SELECT o.at, o.kind, o.value::text AS number FROM observation o
 WHERE o.task_id = $1::bigint AND o.series = $2::text AND o.at < $3::timestamptz
   AND o.verdict IS DISTINCT FROM 'rejected' AND (NOT o.breach OR o.verdict IS NOT DISTINCT FROM 'accepted')
 ORDER BY o.at DESC LIMIT $4::bigint;
