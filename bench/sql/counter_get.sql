SELECT counter_get('hot');
