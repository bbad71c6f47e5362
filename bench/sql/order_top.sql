SELECT count(*) FROM counter_board_top('g' || :n || ':', 10);
