-- A counter of its own for each, so that its row has the time of this increment.
SELECT counter_incr(:probe::text || nextval('probes'));
