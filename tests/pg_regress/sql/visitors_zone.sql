-- Days of visitors by counter_ext.time_zone. At any instant Kiritimati (14 hours ahead) and UTC-12 have different days.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT counter_version() <> '' AS loaded;
CREATE FUNCTION day_in(zone text) RETURNS date LANGUAGE sql AS $$ SELECT (now() AT TIME ZONE zone)::date $$;
CREATE VIEW zone_days AS SELECT CASE day WHEN day_in('Pacific/Kiritimati') THEN 'east' WHEN day_in('Etc/GMT+12') THEN 'west' END AS day,
    # sketch AS visitors FROM counter_ext.visitors WHERE id = 'zone:a' AND day > '-infinity' ORDER BY 1;

SHOW counter_ext.time_zone;
-- The session's own zone decides nothing.
SET timezone = 'Etc/GMT+12';
SET counter_ext.time_zone = 'Pacific/Kiritimati';
SHOW timezone;
SELECT counter_visit('zone:a', 'ann'), counter_visit('zone:a', 'ann');
SELECT counter_visitors('zone:a', day_in('Pacific/Kiritimati')) AS today, counter_visitors('zone:a', NULL, day_in('Etc/GMT+12')) AS before;
-- A change holds for what comes, and in memory as in rows.
SET counter_ext.time_zone = 'Etc/GMT+12';
SELECT counter_visit('zone:a', 'ann'), counter_visit('zone:a', 'bob');
SELECT counter_visitors('zone:a', day_in('Pacific/Kiritimati')) AS east, counter_visitors('zone:a', NULL, day_in('Etc/GMT+12')) AS west, counter_visitors('zone:a') AS ever;
SELECT counter_compact() >= 0 AS compacted;
SELECT * FROM zone_days;
-- Within a transaction, and back with it.
BEGIN;
SET LOCAL counter_ext.time_zone = 'Pacific/Kiritimati';
SELECT counter_visit('zone:a', 'cid');
COMMIT;
SHOW counter_ext.time_zone;
BEGIN;
SET LOCAL counter_ext.time_zone = 'Pacific/Kiritimati';
SELECT counter_visit('zone:a', 'dan');
ROLLBACK;
SELECT counter_compact() >= 0 AS compacted;
SELECT * FROM zone_days;
-- What is late, and what is early, goes by the same days.
SELECT counter_visit('zone:b', 'ann', at => day_in('Etc/GMT+12') + 1), counter_visit('zone:b', 'bob', at => day_in('Etc/GMT+12') - 366);
SELECT counter_visit('zone:b', 'ann', at => day_in('Etc/GMT+12') + 2);
SELECT counter_visit('zone:b', 'ann', at => day_in('Etc/GMT+12') - 367);
SELECT counter_visitors_add('zone:b', counter_hll_agg('cid'::text), day_in('Etc/GMT+12') + 2);
SELECT counter_visitors_add('zone:b', counter_hll_agg('cid'::text), day_in('Etc/GMT+12') + 1);

-- What TimeZone takes and refuses, so does this.
SET counter_ext.time_zone = 'europe/berlin';
SHOW counter_ext.time_zone;
SET counter_ext.time_zone = 'CET-1CEST,M3.5.0,M10.5.0/3';
SET counter_ext.time_zone = '-3.5';
SET counter_ext.time_zone = 'INTERVAL ''+05:30''';
SELECT counter_visit('zone:c', 'ann'), counter_visitors('zone:c', day_in('Asia/Kolkata'), day_in('Asia/Kolkata')) AS today;
SET counter_ext.time_zone = 'Mars/Phobos';
SET counter_ext.time_zone = '';
SET counter_ext.time_zone = '-169';
SET counter_ext.time_zone = 'INTERVAL ''1 month''';
SET counter_ext.time_zone TO DEFAULT;
SHOW counter_ext.time_zone;
SELECT counter_visit('zone:d', 'ann'), counter_visitors('zone:d', day_in('UTC'), day_in('UTC')) AS today;

-- It is the administrator's, since days are everybody's.
CREATE ROLE zone_visitor;
SET ROLE zone_visitor;
SET counter_ext.time_zone = 'Europe/Berlin';
SHOW counter_ext.time_zone;
RESET ROLE;
ALTER ROLE zone_visitor SET counter_ext.time_zone = 'Europe/Berlin';
ALTER ROLE zone_visitor SET counter_ext.time_zone = 'Mars/Phobos';
DROP ROLE zone_visitor;

SELECT counter_drop_prefix('zone:');
DROP VIEW zone_days;
DROP FUNCTION day_in(text);
