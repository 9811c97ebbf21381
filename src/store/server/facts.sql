-- What a server says of itself, as far as it matters to those who write into it. Readable by any role.
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::integer / 10000 AS major_version,
       clock_timestamp() AS now,
       (current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint) AS connections_allowed,
       (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::bigint AS connections_used,
       current_database()::text AS database,
       -- Superusers are not held to the limits of databases and roles.
       (SELECT nullif(datconnlimit, -1)::bigint FROM pg_database
         WHERE datname = current_database() AND NOT own.rolsuper) AS database_connections_allowed,
       (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database
         WHERE datname = current_database())::bigint AS database_connections_used,
       own.rolname::text AS role,
       CASE WHEN NOT own.rolsuper THEN nullif(own.rolconnlimit, -1)::bigint END AS role_connections_allowed,
       (SELECT count(*) FROM pg_stat_activity WHERE usesysid = own.oid) AS role_connections_used,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS is_read_only,
       ARRAY(SELECT name || ' = ' || setting FROM pg_settings
              WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name) AS unsafe_settings,
       current_setting('autovacuum')::boolean AS has_autovacuum,
       current_setting('server_encoding') AS encoding,
       to_regnamespace('dropcron') IS NOT NULL OR has_database_privilege(current_database(), 'CREATE') AS has_schema
  FROM pg_roles AS own
 WHERE own.rolname = session_user;
