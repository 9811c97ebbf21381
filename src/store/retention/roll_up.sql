SELECT roll_up($1::text::date) AS done;
