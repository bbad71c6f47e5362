-- Until a counter of the other node is here.
SELECT set_config('bench.probe', :'probe', false) \g /dev/null
DO $$
DECLARE
    give_up timestamptz := clock_timestamp() + interval '5 minutes';
BEGIN
    WHILE NOT EXISTS (SELECT FROM counter_ext.total t WHERE t.id = current_setting('bench.probe') COLLATE "C") LOOP
        PERFORM pg_sleep(0.001);
        IF clock_timestamp() > give_up THEN
            RAISE EXCEPTION '% has not arrived', current_setting('bench.probe');
        END IF;
    END LOOP;
END
$$;
