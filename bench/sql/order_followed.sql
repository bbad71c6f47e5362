SELECT counter_incr(:id);
