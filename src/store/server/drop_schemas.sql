-- Both schemas, to make room for those of a dump.
DROP SCHEMA IF EXISTS dropcron_report CASCADE;
DROP SCHEMA IF EXISTS dropcron CASCADE;
