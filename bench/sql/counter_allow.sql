SELECT counter_allow('hot', 2147483647, '1 min');
