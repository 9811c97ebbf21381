-- Appends chunks of output.
INSERT INTO run_output (run_id, sequence, written_at, chunk)
SELECT i.run_id, i.sequence, p.now, i.chunk
  FROM unnest($1::bigint[], $2::integer[], $3::text[]) AS i(run_id, sequence, chunk),
       (SELECT $4::timestamptz AS now) p
ON CONFLICT DO NOTHING;
