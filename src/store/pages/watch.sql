-- What watched runs printed from their places on, and how each stands, seen at one moment: a run that has ended has printed all.
SELECT p.run_id, coalesce(r.status, 'lost') AS status, o.sequence, o.chunk, o.written_at
  FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[]) AS p(run_id, from_sequence, since)
  LEFT JOIN LATERAL (SELECT status FROM run_log r WHERE r.run_id = p.run_id) r ON true
  LEFT JOIN LATERAL (SELECT o.sequence, o.chunk, o.written_at FROM run_output o
                      WHERE o.run_id = p.run_id AND o.sequence >= p.from_sequence AND o.written_at >= p.since
                      ORDER BY o.sequence LIMIT $4::bigint) o ON true
 ORDER BY p.run_id, o.sequence;
