-- What of dropcron's is here already, whether this role may make the schemas, and whether the roles are there or can be made.
SELECT to_regnamespace('dropcron') IS NOT NULL OR to_regnamespace('dropcron_report') IS NOT NULL AS has_schemas,
       to_regclass('dropcron.task') IS NOT NULL AS has_tables,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
         OR (SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('dropcron_reader', 'dropcron_operator')) AS has_roles;
