SELECT counter_allow('hot', 1000000, '1 min');
