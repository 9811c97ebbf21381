-- A node says which of its loops do not go round: its heartbeat comes from a thread of its own, and says nothing of them.
ALTER TABLE node ADD COLUMN stalled_loops text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN node.stalled_loops IS 'Loops of this process that have ended or hang, as of the last heartbeat; empty is healthy.';
