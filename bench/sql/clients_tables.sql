-- More of what people build by hand: slots as partitions, and slots that are taken only when nobody else has them.
SET client_min_messages = warning;
DROP TABLE IF EXISTS partitioned, locked_slots CASCADE;

CREATE TABLE partitioned (slot int NOT NULL, id text NOT NULL, n bigint NOT NULL, PRIMARY KEY (id, slot)) PARTITION BY LIST (slot);
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE TABLE partitioned_%s PARTITION OF partitioned FOR VALUES IN (%s) WITH (fillfactor = 50)', slot, slot);
    END LOOP;
END $$;
INSERT INTO partitioned SELECT slot, 'hot', 0 FROM generate_series(0, 15) AS slot;
VACUUM ANALYZE partitioned;

CREATE TABLE locked_slots (id text, slot int, n bigint NOT NULL, PRIMARY KEY (id, slot)) WITH (fillfactor = 50);
INSERT INTO locked_slots SELECT 'hot', slot, 0 FROM generate_series(0, 63) AS slot;
VACUUM ANALYZE locked_slots;

-- The first of a few slots whose advisory lock is free; the last one is waited for.
CREATE OR REPLACE FUNCTION advisory_incr(counter text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    place int;
BEGIN
    FOR try IN 1..8 LOOP
        place := floor(random() * 64)::int;
        EXIT WHEN pg_try_advisory_xact_lock(hashtext(counter), place);
        IF try = 8 THEN PERFORM pg_advisory_xact_lock(hashtext(counter), place); END IF;
    END LOOP;
    UPDATE locked_slots SET n = n + 1 WHERE id = counter AND slot = place;
END $$;

-- Slots of any number, for both ways to have them.
CREATE TABLE IF NOT EXISTS n_slots (id text, slot int, n bigint NOT NULL, PRIMARY KEY (id, slot)) WITH (fillfactor = 50);
