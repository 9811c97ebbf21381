-- Numbers for years: one point for each task, series and instant, what its task expects of it, and what people say of it.

ALTER TABLE task ADD COLUMN expectations jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(expectations) = 'array');
COMMENT ON COLUMN task.expectations IS 'What the header expects of its values, one object for each series: series, unit, type, min, max, max_change (a number, or text with %), stale_after_seconds.';

CREATE TABLE observation (
  task_id       bigint NOT NULL,
  series        text NOT NULL CHECK (length(series) BETWEEN 1 AND 200),
  at            timestamptz NOT NULL,
  value         numeric CHECK (value <> 'NaN'),
  kind          text NOT NULL CHECK (kind IN ('number', 'boolean', 'null', 'text', 'list', 'object')),
  run_id        bigint,
  attempt       smallint,
  script_sha256 bytea,
  recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  judged_at     timestamptz,
  suspect       text,
  breach        boolean NOT NULL DEFAULT false,
  verdict       text CHECK (verdict IN ('accepted', 'rejected')),
  verdict_by    text,
  verdict_at    timestamptz,
  note          text,
  PRIMARY KEY (task_id, series, at),
  CONSTRAINT observation_number CHECK ((kind IN ('number', 'boolean')) = (value IS NOT NULL)),
  CONSTRAINT observation_breach CHECK (NOT breach OR suspect IS NOT NULL),
  CONSTRAINT observation_verdict CHECK ((verdict IS NULL) = (verdict_at IS NULL) AND (verdict IS NULL) = (verdict_by IS NULL))
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX observation_unjudged ON observation (recorded_at) WHERE judged_at IS NULL;
CREATE INDEX observation_open ON observation (task_id, series, at) WHERE suspect IS NOT NULL AND verdict IS NULL;
COMMENT ON TABLE observation IS 'Numbers that runs returned or somebody imported: one for each task, series and instant, kept for ever. No foreign key: numbers outlive tasks and runs.';
COMMENT ON COLUMN observation.task_id IS 'The task.';
COMMENT ON COLUMN observation.series IS 'Where the number stood in the return value: keys and positions joined by dots; value for a bare number.';
COMMENT ON COLUMN observation.at IS 'The instant that it stands for: as_of or scheduled_for of its run, or what its record says.';
COMMENT ON COLUMN observation.value IS 'The number, with every digit; false and true are 0 and 1. NULL: a gap, where the run returned something else in the place of the number.';
COMMENT ON COLUMN observation.kind IS 'What stood there: number, boolean, or for a gap null, text, list, object.';
COMMENT ON COLUMN observation.run_id IS 'The run that returned it; NULL: imported.';
COMMENT ON COLUMN observation.attempt IS 'The attempt of that run; NULL: imported.';
COMMENT ON COLUMN observation.script_sha256 IS 'The script version that returned it; see script_version. NULL: imported.';
COMMENT ON COLUMN observation.recorded_at IS 'When this number was written here; a newer run that returns the same number leaves it.';
COMMENT ON COLUMN observation.judged_at IS 'When it was compared with what is expected; NULL: not yet. Imported points are not judged.';
COMMENT ON COLUMN observation.suspect IS 'What is odd about it, in words; NULL: nothing.';
COMMENT ON COLUMN observation.breach IS 'true: it breaks an expectation that the header declares. false with suspect: a hint, of which nobody is told.';
COMMENT ON COLUMN observation.verdict IS 'What a person says of it: accepted counts like any other, rejected does not count. NULL: nobody said anything.';
COMMENT ON COLUMN observation.verdict_by IS 'Who said so.';
COMMENT ON COLUMN observation.verdict_at IS 'When.';
COMMENT ON COLUMN observation.note IS 'Why, in that person''s words.';
COMMENT ON INDEX observation_unjudged IS 'What is still to be judged, oldest first.';
COMMENT ON INDEX observation_open IS 'Suspect points of which nobody has said anything.';

CREATE TABLE stale_series (
  task_id    bigint NOT NULL,
  series     text NOT NULL,
  last_at    timestamptz,
  noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, series)
);
COMMENT ON TABLE stale_series IS 'Series without a new number for longer than stale_after in the header of their task; a row goes when a number comes.';
COMMENT ON COLUMN stale_series.task_id IS 'The task.';
COMMENT ON COLUMN stale_series.series IS 'The series.';
COMMENT ON COLUMN stale_series.last_at IS 'The instant of its newest number; NULL: it never had one.';
COMMENT ON COLUMN stale_series.noticed_at IS 'When it was found stale.';

CREATE FUNCTION record_observations(run_ids bigint[], task_ids bigint[], attempts smallint[], at timestamptz[], script_sha256 bytea[],
                                    found_in bigint[], series text[], own_at timestamptz[], kinds text[], numbers text[])
RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  written bigint;
BEGIN
  -- Locked in one order, so that statements that write the same points wait for each other instead of dying of it. A gap is
  -- a point only where there were numbers.
  INSERT INTO observation AS o (task_id, series, at, value, kind, run_id, attempt, script_sha256)
  SELECT DISTINCT ON (r.task_id, f.series, coalesce(f.own_at, r.at))
         r.task_id, f.series, coalesce(f.own_at, r.at), f.number::numeric, f.kind, r.run_id, r.attempt, r.script_sha256
    FROM unnest(found_in, series, own_at, kinds, numbers) AS f(run_id, series, own_at, kind, number)
    JOIN unnest(run_ids, task_ids, attempts, record_observations.at, record_observations.script_sha256)
      AS r(run_id, task_id, attempt, at, script_sha256) USING (run_id)
   WHERE f.number IS NOT NULL
      OR EXISTS (SELECT 1 FROM observation k WHERE k.task_id = r.task_id AND k.series = f.series)
   ORDER BY r.task_id, f.series, coalesce(f.own_at, r.at), r.run_id DESC
  ON CONFLICT (task_id, series, at) DO UPDATE
     SET (value, kind, run_id, attempt, script_sha256, recorded_at, judged_at, suspect, breach, verdict, verdict_by, verdict_at, note) =
         (SELECT excluded.value, excluded.kind, excluded.run_id, excluded.attempt, excluded.script_sha256, k.*
            FROM (SELECT excluded.recorded_at, NULL::timestamptz, NULL::text, false, NULL::text, NULL::text, NULL::timestamptz, NULL::text
                   WHERE (o.value, o.kind) IS DISTINCT FROM (excluded.value, excluded.kind)
                  UNION ALL
                  SELECT o.recorded_at, o.judged_at, o.suspect, o.breach, o.verdict, o.verdict_by, o.verdict_at, o.note
                   WHERE (o.value, o.kind) IS NOT DISTINCT FROM (excluded.value, excluded.kind)) k)
   -- Numbers of runs grow: an earlier run that is written later has nothing newer to say.
   WHERE o.run_id IS NULL OR o.run_id <= excluded.run_id;
  GET DIAGNOSTICS written = ROW_COUNT;
  RETURN written;
END $$;
COMMENT ON FUNCTION record_observations(bigint[], bigint[], smallint[], timestamptz[], bytea[], bigint[], text[], timestamptz[], text[], text[]) IS 'Writes what runs returned as points. A newer run replaces the point of an older one; if the number is another, it is judged anew, and what people said of the old one goes.';
