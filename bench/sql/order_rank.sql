SELECT counter_board_rank('g' || :n || ':', :middle);
