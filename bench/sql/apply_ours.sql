SELECT counter_apply('topic', (SELECT upto + 1 FROM counter_ext.source_offset WHERE source = 'topic'), ids, deltas) FROM deltas;
