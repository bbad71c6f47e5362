-- One human is one visitor, of whatever type a driver binds them: integers and uuids are hashed as their text.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
CREATE DOMAIN people_number AS integer;
CREATE DOMAIN people_uuid AS uuid;
CREATE DOMAIN people_text AS text;

-- Every width of integer, and its text.
SELECT counter_visit('people:7', 7) AS new, counter_visit('people:7', 7::bigint) AS bigint, counter_visit('people:7', 7::smallint) AS smallint,
    counter_visit('people:7', '7') AS literal, counter_visit('people:7', '7'::text) AS text, counter_visit('people:7', '7'::varchar) AS varchar,
    counter_visit('people:7', '7'::char(9)) AS "char", counter_visit('people:7', '7'::name) AS name,
    counter_visit('people:7', 7::people_number) AS domain, counter_visit('people:7', '7'::people_text) AS "text domain", counter_visit('people:7', '7'::counter) AS counter;
SELECT counter_visit('people:7', '07'), counter_visit('people:7', '+7'), counter_visit('people:7', '7.0'), counter_visitors('people:7');
SELECT count(*) FILTER (WHERE counter_visit('people:wide', n)), count(*) FILTER (WHERE counter_visit('people:wide', n::text))
    FROM unnest('{0,-1,32767,-32768,2147483647,-2147483648,9223372036854775807,-9223372036854775808}'::bigint[]) n;

-- Every spelling of a uuid that PostgreSQL reads.
SELECT spelling, counter_visit('people:uuid', spelling) AS new, counter_visit('people:uuid', spelling::uuid) AS uuid,
    counter_visit('people:uuid', spelling::people_uuid) AS domain FROM unnest(ARRAY[
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}',
    'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11', '{A0EEBC999C0B4EF8-BB6D6BB9BD380A11}']) spelling;
SELECT counter_visitors('people:uuid');
-- What is none is a text like any other, also where it is nearly one.
SELECT spelling, counter_visit('people:text', spelling) AS new, counter_visit('people:text', upper(spelling)) AS capitals FROM unnest(ARRAY[
    'a0eebc999c0b4ef8bb6d6bb9bd380a1', 'a0eebc999c0b4ef8bb6d6bb9bd380a1g', '{a0eebc999c0b4ef8bb6d6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1', 'ann']) spelling;
-- 32 hexadecimal digits without a dash may be a digest: they are the text that they are.
SELECT counter_visit('people:digest', md5('ann')), counter_visit('people:digest', upper(md5('ann'))), counter_visit('people:digest', md5('ann')::uuid);

-- A sketch of visitors is one of texts, and goes together with one of your own: cast integers to text, and texts that may spell uuids to uuid first.
CREATE TABLE people (id bigint, account uuid);
INSERT INTO people SELECT n, md5(n::text)::uuid FROM generate_series(1, 500) n;
SELECT count(counter_visit('people:ids', id)) AS visits, count(counter_visit('people:accounts', account)) AS accounts FROM people;
SELECT counter_compact() >= 0 AS compacted;
SELECT sketch = (SELECT counter_hll_agg(id::text) FROM people) AS "id::text", sketch = (SELECT counter_hll_agg(id) FROM people) AS "id",
    # (sketch || (SELECT counter_hll_agg(id::text) FROM people)) AS together, # (sketch || (SELECT counter_hll_agg(id) FROM people)) AS apart
    FROM counter_ext.visitors WHERE id = 'people:ids' AND day = '-infinity';
SELECT sketch = (SELECT counter_hll_agg(account::text) FROM people) AS "account::text" FROM counter_ext.visitors WHERE id = 'people:accounts' AND day = '-infinity';

-- Ids of every type, with visitors of every type; untyped parameters are text.
CREATE FUNCTION people_is_null(id text, visitor text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    is_null boolean;
BEGIN
    EXECUTE format('SELECT counter_visit(%s, %s) IS NULL', id, visitor) INTO is_null;
    EXECUTE format('SELECT counter_visitors(%s)', id);
    RETURN is_null;
END $$;
SELECT id, visitor, is_null FROM (
    SELECT id, visitor, people_is_null(id, visitor) AS is_null
    FROM unnest(ARRAY['''people:id''', '''people:id''::text', '''people:id''::varchar', '''people:id''::counter', '790020', '790020::bigint', '7920::smallint',
        '''0a000000-0000-0000-0000-0000000000ff''::uuid']) id,
        unnest(ARRAY['''1''', '''1''::text', '1', '1::bigint', '1::smallint', '''0a000000-0000-0000-0000-0000000000ff''::uuid', '''x''::counter', 'NULL', 'NULL::uuid', '1.5', 'ARRAY[1]', 'true']) visitor) AS calls
    WHERE is_null IS DISTINCT FROM (visitor LIKE 'NULL%');
DROP FUNCTION people_is_null;
SELECT counter_visitors('people:id'), counter_visitors(790020), counter_visitors('0a000000-0000-0000-0000-0000000000ff'::uuid),
    counter_visitors('0a000000-0000-0000-0000-0000000000ff'), counter_visitors('0A0000000000000000000000000000FF'::uuid, current_date - 2);
PREPARE untyped AS SELECT counter_visit($1, $2), counter_visitors($1);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
PREPARE untyped_id AS SELECT counter_visit($1, 5);
PREPARE untyped_visitor AS SELECT counter_visit(5, $1);
PREPARE untyped_all AS SELECT counter_visit($1, $2, $3, $4);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'untyped\__%' ORDER BY name;
EXECUTE untyped('people:id', '1');
DEALLOCATE ALL;
SELECT counter_visit(790020::people_number, 1), counter_visit('0a000000-0000-0000-0000-0000000000ff'::people_uuid, 1), counter_visit(NULL::uuid, 1) IS NULL AS id,
    counter_visit('0a000000-0000-0000-0000-0000000000ff'::uuid, NULL) IS NULL AS visitor, counter_visitors(NULL::uuid) IS NULL AS visitors;
SELECT counter_visit('0a000000-0000-0000-0000-0000000000ff'::uuid, 1, views => 3), counter_get('0a000000-0000-0000-0000-0000000000ff');

-- Whether somebody has been there: the same visitors, and no visit.
SELECT counter_visited('people:7', 7), counter_visited('people:7', 7::bigint), counter_visited('people:7', '7'), counter_visited('people:7'::counter, '7'), counter_visited('people:7', 8),
    counter_visited('people:uuid', '{A0EEBC999C0B4EF8-BB6D6BB9BD380A11}'), counter_visited('people:nobody', 7), counter_visitors('people:7');
SELECT counter_visited(790020, 1), counter_visited(790020, '1'), counter_visited('0a000000-0000-0000-0000-0000000000ff'::uuid, 1::smallint), counter_visited('0a000000-0000-0000-0000-0000000000ff', '2'),
    counter_visited(NULL::text, '1') IS NULL AS id, counter_visited(790020, NULL) IS NULL AS visitor;
SELECT counter_visited('people:id', 1.5), counter_visited('people:id', ARRAY[1]), counter_visited('people:id', now());
BEGIN;
SELECT counter_visited('people:7', 'own'), counter_visit('people:7', 'own'), counter_visited('people:7', 'own');
ROLLBACK;
SELECT counter_visited('people:7', 'own');
SELECT counter_compact() >= 0 AS compacted, counter_visited('people:7', 7), counter_visited('people:7', 8);
PREPARE untyped AS SELECT counter_visited($1, $2);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
DEALLOCATE untyped;
BEGIN READ ONLY;
SELECT counter_visited('people:7', 7), counter_visited('people:ids', 77);
ROLLBACK;
CREATE ROLE regress_people;
SET ROLE regress_people;
SELECT counter_visited('people:7', 7);
RESET ROLE;
DROP ROLE regress_people;
\set VERBOSITY sqlstate
SELECT counter_visited('', 7);
SELECT counter_visited(1.5, 7);
SELECT counter_visited('people:7', '(1,2)'::point);
-- What is no id stays none.
SELECT counter_visit(1.5, 1);
SELECT counter_visit(true, 'x');
SELECT counter_visitors(1.5);
\set VERBOSITY default

SELECT count(counter_drop(id)) FROM unnest('{people:7,people:wide,people:uuid,people:text,people:digest,people:ids,people:accounts,people:id,790020,7920,0a000000-0000-0000-0000-0000000000ff}'::text[]) id;
DROP TABLE people;
DROP DOMAIN people_number, people_uuid, people_text;
