-- What a server says of itself, as far as it matters to those who write into it. Readable by any role.
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::integer / 10000 AS major_version,
       clock_timestamp() AS now,
       (current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint) AS connections_allowed,
       (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::bigint AS connections_used,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS is_read_only,
       ARRAY(SELECT name || ' = ' || setting FROM pg_settings
              WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name) AS unsafe_settings,
       current_setting('autovacuum')::boolean AS has_autovacuum,
       current_setting('server_encoding') AS encoding,
       -- No address: a socket. One address for both ends: this machine.
       coalesce(inet_client_addr() <> inet_server_addr(), false)
         AND NOT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_in_the_clear,
       to_regnamespace('dropcron') IS NOT NULL OR has_database_privilege(current_database(), 'CREATE') AS has_schema;
