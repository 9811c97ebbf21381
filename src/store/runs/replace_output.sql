-- Appends chunks of output, and removes those of the same runs that are further from the end than is kept. What this statement
-- itself writes is not removed, also when it is repeated because its answer was lost. The bounds on written_at let the planner see
-- the partitions of these days only.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[]) AS i(run_id, sequence, chunk)
), forgotten AS (
  SELECT * FROM unnest($4::bigint[], $5::integer[], $6::integer[]) AS f(run_id, from_sequence, below_sequence)
), removed AS (
  DELETE FROM run_output o USING forgotten f
   WHERE o.run_id = f.run_id AND o.sequence >= f.from_sequence AND o.sequence < f.below_sequence
     AND o.written_at >= $7::timestamptz AND o.written_at < $8::timestamptz
)
INSERT INTO run_output (run_id, sequence, written_at, chunk)
SELECT i.run_id, i.sequence, $9::timestamptz, i.chunk FROM input i
ON CONFLICT DO NOTHING;
