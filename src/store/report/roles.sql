-- Their rights.
DO $$
BEGIN
  GRANT USAGE ON SCHEMA dropcron_report TO dropcron_reader, dropcron_operator;
  GRANT SELECT ON ALL TABLES IN SCHEMA dropcron_report TO dropcron_reader;
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dropcron_report TO dropcron_operator;
END $$;
