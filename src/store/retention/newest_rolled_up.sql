-- The highest number of a run when a day was rolled up last.
SELECT coalesce(max(last_run_id), 0) AS run_id FROM rolled_up_day;
