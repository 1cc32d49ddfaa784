#!lua flags=no-writes,allow-oom
-- -> at most `most` ids that follow on `after` in an application's jobs, or with '' the first
return following(jobs_of_app, after, most)
