"""Running somebody's notebook as a job: preparing, isolating, watching, capturing, reporting."""
