-- counter_limit says what is left and when more is; several limits in one call; refunds and resets; keys of any type, addresses among them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
-- Times as what they are near to: within a minute before.
CREATE FUNCTION near(per interval) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN per = '0' THEN 'now' WHEN per <= '0' THEN 'past' ELSE (date_trunc('minute', per) + '1 minute')::text END $$;
CREATE FUNCTION near(at timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN at <= clock_timestamp() THEN 'now' ELSE near(at - clock_timestamp()) END $$;

SELECT allowed, remaining, near(reset_at) AS reset_at, near(retry_after) AS retry_after
    FROM generate_series(1, 4) AS n, LATERAL counter_limit('told:a', 3, '1 hour', cost => n / n) AS told;
-- Cost 0 takes nothing, and asks for 1; what is more than the maximum never fits.
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', 0);
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', cost => 4);
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', 2);
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', 4);
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', 2);
SELECT allowed, remaining, near(reset_at), near(retry_after) FROM counter_limit('told:b', 3, '1 hour', 0);
SELECT allowed, remaining, near(retry_after) FROM counter_limit('told:b', 1, '1 hour', 1);
SELECT allowed, remaining, near(retry_after) FROM counter_limit('told:b', 0, '1 hour', 0);
-- counter_allow takes from the same window; another length is another one.
SELECT counter_allow('told:b', 3, '1 hour'), counter_allow('told:b', 3, '1 hour'), remaining, near(reset_at) FROM counter_limit('told:b', 3, '2 hours');
-- When it says so, the cost fits, and not before.
SELECT counter_allow('told:soon', 2, '1 minute'), pg_sleep(0.1), counter_allow('told:soon', 2, '1 minute');
SELECT allowed, remaining, retry_after < reset_at - clock_timestamp() AS some_before_all FROM counter_limit('told:soon', 2, '1 minute', 0);
DO $$
DECLARE told record;
BEGIN
    PERFORM counter_allow('told:wait', 2, '2 s'), pg_sleep(0.1);
    SELECT * INTO told FROM counter_limit('told:wait', 2, '2 s', 2);
    IF told.allowed OR told.retry_after NOT BETWEEN '100 ms' AND '1900 ms' THEN RAISE EXCEPTION 'told %', told; END IF;
    PERFORM pg_sleep(extract(epoch FROM told.retry_after));
    SELECT * INTO told FROM counter_limit('told:wait', 2, '2 s', 2);
    IF NOT told.allowed OR told.remaining <> 0 THEN RAISE EXCEPTION 'then %', told; END IF;
END $$;
-- bigint amounts; who has them as integers or smallints need not care.
SELECT allowed, remaining FROM counter_limit('told:huge', 9223372036854775807, '1 hour', 9223372036854775806);
SELECT allowed, remaining FROM counter_limit('told:huge', 9223372036854775807, '1 hour', 9223372036854775807);
SELECT allowed, remaining FROM counter_limit('told:huge', 9223372036854775807, '1 hour');
SELECT counter_allow('told:huge', 9223372036854775807, '1 hour'), counter_allow('told:int', 2::smallint, '1 hour', 2::integer), counter_allow('told:int', 2::integer, '1 hour', 1::smallint);
-- It belongs to no transaction, and writes nothing.
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT allowed, remaining, pg_current_xact_id_if_assigned() FROM counter_limit('told:rolled', 2, '1 hour');
SELECT counter_allow_all('{told:rolled}', '{2}', '{1 hour}'), counter_limit_refund('told:rolled', 2, '1 hour');
ROLLBACK;
SELECT allowed, remaining FROM counter_limit('told:rolled', 2, '1 hour', 0);
BEGIN;
SELECT counter_allow('told:prepared', 2, '1 hour'), counter_incr('told:counter');
PREPARE TRANSACTION 'told';
SELECT remaining FROM counter_limit('told:prepared', 2, '1 hour', 0);
ROLLBACK PREPARED 'told';
SELECT remaining FROM counter_limit('told:prepared', 2, '1 hour', 0);

-- Refunds: what is left of the maximum then; no more than was taken.
SELECT counter_allow('told:back', 10, '1 hour', 6), counter_limit_refund('told:back', 10, '1 hour', 2), counter_limit_refund('told:back', 10, '1 hour'),
    counter_limit_refund('told:back', 10, '1 hour', 0), counter_limit_refund('told:back', 4, '1 hour', 0), counter_limit_refund('told:back', 2, '1 hour', 0);
SELECT counter_limit_refund('told:back', 10, '1 hour', 9223372036854775807), counter_limit_refund('told:back', 10, '2 hours', 3), counter_limit_refund('told:nobody', 5, '1 hour');
SELECT counter_allow('told:back', 10, '1 hour', 10), counter_allow('told:back', 10, '1 hour');
-- The oldest goes first, so no interval has more than the maximum of those that are left.
SELECT counter_allow('told:oldest', 2, '2 s'), pg_sleep(1), counter_allow('told:oldest', 2, '2 s'), counter_limit_refund('told:oldest', 2, '2 s');
SELECT pg_sleep(1.3);
SELECT remaining FROM counter_limit('told:oldest', 2, '2 s', 0);
-- A reset forgets a key in windows of every length, and no other key.
SELECT counter_allow('told:reset', 1, '1 hour'), counter_allow('told:reset', 1, '2 hours'), counter_allow('told:reset2', 1, '1 hour');
SELECT counter_limit_reset('told:reset'), counter_limit_reset('told:reset'), counter_limit_reset('told:nobody');
SELECT counter_allow('told:reset', 1, '1 hour'), counter_allow('told:reset', 1, '2 hours'), counter_allow('told:reset2', 1, '1 hour');

-- Several at once: what one refuses takes nothing of the others.
SELECT counter_allow_all(ARRAY['told:burst', 'told:burst'], ARRAY[10, 3], ARRAY['1 minute', '1 hour']::interval[]) FROM generate_series(1, 5);
SELECT key, allowed, remaining, near(reset_at), near(retry_after)
    FROM counter_limit_all(ARRAY['told:burst', 'told:burst', 'told:other'], ARRAY[10, 3, 5], ARRAY['1 minute', '1 hour', '1 day']::interval[]);
SELECT key, allowed, remaining, near(reset_at), near(retry_after)
    FROM counter_limit_all(ARRAY['told:burst', 'told:burst', 'told:other'], ARRAY[10, 3, 5], ARRAY['1 minute', '1 hour', '1 day']::interval[], ARRAY[7, 0, 1]);
SELECT key, allowed, remaining, near(reset_at), near(retry_after)
    FROM counter_limit_all(ARRAY['told:burst', 'told:other', 'told:never'], ARRAY[10, 5, 2], ARRAY['1 minute', '1 day', '1 day']::interval[], ARRAY[7, 1, 3]);
SELECT key, allowed, remaining, near(reset_at), near(retry_after)
    FROM counter_limit_all(ARRAY['told:burst', 'told:other'], ARRAY[10, 5], ARRAY['1 minute', '1 day']::interval[], ARRAY[7, 1]);
SELECT limits_in_use FROM counter_stats \gset
SELECT counter_allow_all(ARRAY['told:fresh', 'told:burst'], ARRAY[1, 3], ARRAY['1 hour', '1 hour']::interval[]), limits_in_use - :limits_in_use AS more FROM counter_stats;
-- One that is named twice: what is asked adds up.
SELECT counter_allow_all('{told:twice,told:twice}', '{3,3}', '{1 h,60 min}', '{2,2}'), counter_allow_all('{told:twice,told:twice}', '{3,3}', '{1 h,60 min}', '{2,1}'),
    counter_allow('told:twice', 3, '1 hour'), counter_allow_all('{told:twice,told:twice}', '{9,4}', '{1 h,1 h}'), counter_allow_all('{told:twice,told:twice}', '{4,9}', '{1 h,1 h}');
SELECT counter_allow_all('{}', '{}', '{}'), counter_allow_all(NULL::text[], '{}', '{}');
SELECT count(*) FROM counter_limit_all('{}', '{}', '{}');
SELECT (counter_limit_all('{told:p,told:q}', '{2,2}', '{1 h,1 h}')).remaining FROM generate_series(1, 2);
SELECT counter_allow_all(array_agg('told:n' || n), array_agg(n), array_agg(interval '1 hour')) FROM generate_series(1, 32) n;
SELECT counter_allow_all(array_agg('told:n' || n), array_agg(n), array_agg(interval '1 hour')) FROM generate_series(1, 33) n;
SELECT counter_allow_all('{a,b}', '{1}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h,1 h}', '{1}');
SELECT counter_allow_all('{a,NULL}', '{1,1}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,NULL}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h,NULL}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h,1 h}', '{1,NULL}');
SELECT counter_allow_all('{{a,b}}', '{1,1}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{{1 h,1 h}}');
SELECT counter_allow_all('{a,""}', '{1,1}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,-1}', '{1 h,1 h}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h,0}');
SELECT counter_allow_all('{a,b}', '{1,1}', '{1 h,1 h}', '{1,-1}');
SELECT remaining FROM counter_limit('a', 1, '1 h', 0);

-- Keys of other types are their text; what has no type is text.
SELECT counter_allow(7, 1, '1 hour'), counter_allow(7::smallint, 1, '1 hour'), counter_allow(7::bigint, 1, '1 hour'), counter_allow('7', 1, '1 hour'),
    counter_allow('7'::varchar, 1, '1 hour'), counter_allow('7'::name, 1, '1 hour'), counter_allow('7'::counter, 1, '1 hour');
SELECT counter_allow('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, 1, '1 hour'), counter_allow('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1, '1 hour');
SELECT k.remaining, u.remaining, c.remaining, i.remaining FROM counter_limit(7, 1, '1 hour') AS k, counter_limit('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 1, '1 hour') AS u,
    counter_limit('7'::counter, 1, '1 hour') AS c, counter_limit('203.0.113.7'::inet, 3, '1 hour') AS i;
SELECT counter_limit_refund(7, 1, '1 hour'), counter_limit_refund('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 1, '1 hour'), counter_limit_refund('7'::counter, 5, '1 hour'),
    counter_limit_refund('203.0.113.7'::inet, 3, '1 hour');
SELECT counter_allow(7, 1, '1 hour'), counter_limit_reset(7), counter_limit_reset('7'::counter), counter_limit_reset('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid), counter_limit_reset('203.0.113.7'::inet);
SELECT counter_allow(NULL::inet, 1, '1 hour');
SELECT counter_allow(NULL::uuid, 1, '1 hour');
SELECT counter_limit(NULL, 1, '1 hour');
SELECT counter_limit_reset(NULL);
SELECT counter_allow(1.5, 1, '1 hour');
PREPARE told1 AS SELECT counter_allow($1, $2, $3, $4), counter_limit_reset($1), counter_limit_refund($1, $2, $3, $4);
PREPARE told2 AS SELECT * FROM counter_limit($1, $2, $3);
PREPARE told3 AS SELECT counter_allow_all($1, $2, $3), counter_incr_from($4, $5, $6), counter_incr_from($4, $5), counter_address($7);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY 1;
DEALLOCATE ALL;

-- One address, one spelling; IPv6 by its network. A mask says nothing of an address.
SELECT address, counter_address(address::inet) FROM unnest(ARRAY['203.0.113.7', '::ffff:203.0.113.7', '203.0.113.7/24', '2001:db8:5:1::9', '2001:0DB8:0005:0001:0:0:0:9/48',
    '2001:db8:5:2::9', '::1']) AS address;
SELECT counter_address('203.0.113.0/24'::cidr), counter_address(NULL);
SELECT counter_allow('2001:db8:5:1::9'::inet, 1, '1 hour'), counter_allow('2001:db8:5:1:ffff::'::inet, 1, '1 hour'), counter_allow('2001:db8:5:2::9'::inet, 1, '1 hour'),
    counter_allow('login:' || counter_address('2001:db8:5:1::9'), 1, '1 hour'), counter_allow('login:' || counter_address('2001:db8:5:1::a'), 1, '1 hour');
SET counter_ext.ipv6_prefix = 56;
SELECT counter_address('2001:db8:5:1ff::9'), counter_allow('2001:db8:5:1ff::9'::inet, 1, '1 hour'), counter_allow('2001:db8:5:100::'::inet, 1, '1 hour');
SET counter_ext.ipv6_prefix = 128;
SELECT counter_address('2001:db8:5:1ff::9'), counter_allow('2001:db8:5:1ff::9'::inet, 1, '1 hour'), counter_allow('2001:db8:5:1ff::a'::inet, 1, '1 hour');
SET counter_ext.ipv6_prefix = 0;
SET counter_ext.ipv6_prefix = 129;
RESET counter_ext.ipv6_prefix;
-- Actors too, whatever their type, where a policy holds.
INSERT INTO counter_ext.policy VALUES ('told:', 1, '1 hour', NULL), ('told:gap', NULL, NULL, '1 hour');
SELECT counter_incr_from('told:v', '2001:db8:5:1::9'), counter_incr_from('told:v', '2001:0DB8:5:1::10'), counter_incr_from('told:v', '2001:db8:5:1::11'::inet),
    counter_incr_from('told:v', '2001:db8:5:1::/64'::cidr), counter_incr_from('told:v', '2001:db8:5:2::9'), counter_incr_from('told:v', '::ffff:1.2.3.4'::inet), counter_incr_from('told:v', '1.2.3.4');
SELECT counter_incr_from('told:gap', '2001:db8:5:1::9'), counter_incr_from('told:gap', '2001:db8:5:1::10'::inet), counter_incr_from('told:gap'::counter, 7), counter_incr_from('told:gap', 7::smallint, 5),
    counter_incr_from('told:gap'::text, 7::bigint), counter_incr_from('told:gap', '7'), counter_incr_from('told:gap', '7'::varchar);
SELECT counter_incr_from('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'ann'), counter_incr_from('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 7, 2), counter_incr_from(790507, gen_random_uuid()),
    counter_incr_from('790507', 'x'), counter_incr_from('790507'::counter, gen_random_uuid()), counter_get('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), counter_get(790507);
SELECT counter_incr_from('told:v', 1.5);
SELECT counter_incr_from('told:v', NULL::uuid);
SELECT counter_incr_from(NULL::uuid, 7);
SELECT counter_incr_from('told:v', 7, NULL);
DELETE FROM counter_ext.policy;

-- Who may: each function for text keys is granted by its name, and with it those for other keys.
CREATE ROLE regress_told;
SET ROLE regress_told;
SELECT counter_allow('told:role', 1, '1 hour');
SELECT counter_allow(7, 1, '1 hour');
SELECT counter_limit('told:role', 1, '1 hour');
SELECT * FROM counter_limit('1.2.3.4'::inet, 1, '1 hour');
SELECT counter_allow_all('{a}', '{1}', '{1 h}');
SELECT counter_limit_all('{a}', '{1}', '{1 h}');
SELECT counter_limit_refund('told:role', 1, '1 hour');
SELECT counter_limit_refund(7, 1, '1 hour');
SELECT counter_limit_reset('told:role');
SELECT counter_limit_reset(gen_random_uuid());
SET counter_ext.ipv6_prefix = 128;
SELECT counter_address('1.2.3.4');
RESET ROLE;
GRANT EXECUTE ON FUNCTION counter_allow(text, bigint, interval, bigint), counter_limit(text, bigint, interval, bigint) TO regress_told;
SET ROLE regress_told;
SELECT counter_allow('told:role', 1, '1 hour'), counter_allow(8, 1, '1 hour'), counter_allow('1.2.3.4'::inet, 1, '1 hour');
SELECT remaining FROM counter_limit('1.2.3.4'::inet, 1, '1 hour');
SELECT counter_limit_reset('told:role');
-- Who may not count fills no windows and begins no intervals.
RESET ROLE;
INSERT INTO counter_ext.policy VALUES ('told:right', 1, '1 hour', '1 hour');
SET ROLE regress_told;
SELECT counter_incr_from('told:right', 'ann');
SELECT counter_incr_from('told:right', 7);
RESET ROLE;
SELECT counter_incr_from('told:right', 'ann'), counter_incr_from('told:right', 7);
-- Nor does a transaction that may not.
BEGIN READ ONLY;
SELECT counter_incr_from('told:right', 'bob');
ROLLBACK;
SELECT counter_incr_from('told:right', 'bob');
DELETE FROM counter_ext.policy;
DROP OWNED BY regress_told;
DROP ROLE regress_told;
SELECT count(*) FROM (SELECT counter_drop(id) FROM unnest(ARRAY['told:v', 'told:gap', 'told:right', 'told:counter', '790507', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']) id) dropped;
DROP FUNCTION near(interval), near(timestamptz);
