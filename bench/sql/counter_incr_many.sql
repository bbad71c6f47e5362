SELECT counter_incr_many(ids) FROM batch;
