SELECT outcome, detail FROM drop_partition($1, $2);
