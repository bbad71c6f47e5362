SELECT counter_incr('hot');
