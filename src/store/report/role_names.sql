-- Roles for those who only read dropcron_report, and for those who may act through its functions. Run it as a role that may make
-- roles and that owns the schema dropcron_report, or as a superuser, in each database of dropcron; and again after an upgrade.
DO $$
DECLARE
  role_name text;
BEGIN
  -- Roles belong to the whole server: another database of dropcron may have made them, or makes them right now.
  FOREACH role_name IN ARRAY ARRAY['dropcron_reader', 'dropcron_operator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
END $$;
