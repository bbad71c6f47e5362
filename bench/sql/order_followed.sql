SELECT counter_incr('followed:' || :kind || ':hot');
