ALTER TABLE node DROP COLUMN stalled_loops;
