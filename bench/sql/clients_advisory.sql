SELECT advisory_incr('hot');
