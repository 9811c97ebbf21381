DROP FUNCTION add_value_deliveries(text, bigint[], bigint[], timestamptz[], text[]);
DELETE FROM delivery WHERE kind IN ('breach', 'stale');
ALTER TABLE delivery DROP CONSTRAINT delivery_subject;
ALTER TABLE delivery ADD CONSTRAINT delivery_subject
  CHECK (kind = 'test' OR (task_id IS NOT NULL AND task_name IS NOT NULL AND run_id IS NOT NULL));
ALTER TABLE delivery DROP CONSTRAINT delivery_kind_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_kind_check CHECK (kind IN ('failed', 'recovered', 'missed', 'late', 'test'));
