-- How long counters took to show here from when their rows were written on the other node, on the same clock: half of them and 99 of 100, in ms.
SELECT set_config('bench.probe', :'probe', false), set_config('bench.count', :'count', false) \g /dev/null
CREATE TEMPORARY TABLE lags (ms double precision);
DO $$
DECLARE
    seen bigint := 0;
    give_up timestamptz := clock_timestamp() + interval '5 minutes';
    came record;
    after text := '';
BEGIN
    WHILE seen < current_setting('bench.count')::bigint LOOP
        -- In the order of their numbers, all of the same length.
        SELECT t.id, extract(epoch FROM clock_timestamp() - t.updated_at) * 1000 AS ms INTO came FROM counter_ext.total t
            WHERE t.id > greatest(after, current_setting('bench.probe')) COLLATE "C" AND t.id < (current_setting('bench.probe') || '~') COLLATE "C"
            ORDER BY t.id COLLATE "C" LIMIT 1;
        IF FOUND THEN
            after := came.id;
            seen := seen + 1;
            INSERT INTO lags VALUES (came.ms);
        ELSE
            PERFORM pg_sleep(0.0005);
        END IF;
        IF clock_timestamp() > give_up THEN
            RAISE EXCEPTION 'only % probes have arrived', seen;
        END IF;
    END LOOP;
END
$$;
SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1), round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 1) FROM lags;
