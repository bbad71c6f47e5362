\set member random(1, :n)
SELECT counter_board_rank('g' || :n || ':', :member);
