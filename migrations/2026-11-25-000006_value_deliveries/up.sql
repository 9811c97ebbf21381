-- People are told of numbers that break what their task expects of them, and of series that have become stale.

ALTER TABLE delivery DROP CONSTRAINT delivery_kind_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_kind_check
  CHECK (kind IN ('failed', 'recovered', 'missed', 'late', 'breach', 'stale', 'test'));
ALTER TABLE delivery DROP CONSTRAINT delivery_subject;
ALTER TABLE delivery ADD CONSTRAINT delivery_subject
  CHECK (kind = 'test' OR (task_id IS NOT NULL AND task_name IS NOT NULL AND (run_id IS NOT NULL OR kind = 'stale')));
COMMENT ON COLUMN delivery.kind IS 'failed: as often in a row as the task says. recovered: a success after that. missed: instants that were not run. late: a run that did not start in time. breach: a number that breaks what is expected of it. stale: no new number for too long. test: somebody tries the channel.';
COMMENT ON COLUMN delivery.run_id IS 'The run, or the row of the run log, that it tells of; NULL for stale and test.';
COMMENT ON COLUMN delivery.scheduled_for IS 'The instant of that row; for breach that of the number, for stale that of the newest one.';

CREATE FUNCTION add_value_deliveries(told_kind text, task_ids bigint[], run_ids bigint[], at timestamptz[], details text[])
RETURNS void LANGUAGE sql AS $$
  -- What one run returned, or one task waits for, is one message.
  INSERT INTO delivery (channel, kind, task_id, task_name, run_id, scheduled_for, facts)
  SELECT c.channel, told_kind, i.task_id, t.name, i.run_id, i.at,
         jsonb_strip_nulls(jsonb_build_object('detail', i.details, 'timezone', coalesce(t.timezone_override, t.timezone),
                                              'owner', t.owner, 'description', t.description))
    FROM (SELECT u.task_id, u.run_id, min(u.at) AS at, left(string_agg(u.detail, '; ' ORDER BY u.at, u.detail), 4000) AS details
            FROM unnest(add_value_deliveries.task_ids, add_value_deliveries.run_ids, add_value_deliveries.at,
                        add_value_deliveries.details) AS u(task_id, run_id, at, detail)
           GROUP BY u.task_id, u.run_id) i
    JOIN task t USING (task_id)
    CROSS JOIN LATERAL unnest(t.notify_to) AS c(channel)
   WHERE length(c.channel) BETWEEN 1 AND 200
   ORDER BY i.task_id, i.run_id
  ON CONFLICT (run_id, kind, channel) DO NOTHING
$$;
COMMENT ON FUNCTION add_value_deliveries(text, bigint[], bigint[], timestamptz[], text[]) IS 'Adds the deliveries that tell of broken expectations or stale series to the channels of their tasks.';
