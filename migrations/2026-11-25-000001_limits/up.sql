-- What runs may take of the machine: asked for by the task, and in force for the run.

ALTER TABLE task ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object');
COMMENT ON COLUMN task.limits IS 'What a run may take: memory_bytes of all its processes, cpu_seconds and open_files of each, processes and threads in all, nice. Absent: no limit.';

ALTER TABLE run_log ADD COLUMN limits jsonb;
COMMENT ON COLUMN run_log.limits IS 'What the run was held to, as in task, and by whom: memory_by and processes_by are control_group or keeper. NULL: no limits, or it never started.';
