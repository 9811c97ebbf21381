DROP FUNCTION record_observations(bigint[], bigint[], smallint[], timestamptz[], bytea[], bigint[], text[], timestamptz[], text[], text[]);
DROP TABLE stale_series;
DROP TABLE observation;
ALTER TABLE task DROP COLUMN expectations;
