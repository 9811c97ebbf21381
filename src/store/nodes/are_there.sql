-- Whether a migration has made the table of nodes.
SELECT to_regclass('node') IS NOT NULL AS are_there;
