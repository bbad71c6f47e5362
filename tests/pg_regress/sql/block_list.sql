-- The block list: actors in whatever letters, networks of addresses; it holds for views and for visits.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
DELETE FROM counter_ext.blocked;
DELETE FROM counter_ext.policy;
CREATE FUNCTION counts(actor text) RETURNS boolean LANGUAGE sql AS $$ SELECT counter_incr_from('block:page', actor) $$;

-- A network, by its column, or by an actor that is an address with a mask. Each gives the other.
INSERT INTO counter_ext.blocked (network, reason) VALUES ('203.0.113.0/24', 'scrapers'), ('2001:db8::/32', NULL);
INSERT INTO counter_ext.blocked (actor) VALUES ('198.51.100.0/25'), ('2001:db9:0::/48'), ('192.0.2.9/24'), ('10.0.0.1'), ('2001:dba::1'), ('user/7'), ('1/2'), ('999.0.0.1/8'), (':/8'), ('1.2.3.4/99');
SELECT actor, network, reason FROM counter_ext.blocked ORDER BY actor;
SELECT actor, counts(actor) FROM unnest('{203.0.113.0,203.0.113.255,203.0.114.0,203.0.113.77/32,203.0.113.77/24,::ffff:203.0.113.77,
    198.51.100.127,198.51.100.128,192.0.2.200,10.0.0.1,10.0.0.2,user/7,user/8,1.2.3.4,
    2001:db8::1,2001:DB8:0:0::ffff,2001:db9::1,2001:db9:1::1,2001:DBA:0::1,2001:dba::2,::cb00:7101,203.0.113,203.0.113.7 ,203.0.113.07}'::text[]) actor;
-- A change holds at once.
UPDATE counter_ext.blocked SET network = '203.0.114.0/24' WHERE actor = '203.0.113.0/24';
SELECT actor, network FROM counter_ext.blocked WHERE reason = 'scrapers';
SELECT counts('203.0.113.7'), counts('203.0.114.7');
UPDATE counter_ext.blocked SET actor = 'nobody' WHERE reason = 'scrapers';
SELECT actor, network FROM counter_ext.blocked WHERE reason = 'scrapers';
SELECT counts('203.0.114.7'), counts('Nobody');
UPDATE counter_ext.blocked SET actor = 'robots', network = '203.0.113.0/24' WHERE reason = 'scrapers';
SELECT counts('203.0.113.7'), counts('robots');
UPDATE counter_ext.blocked SET until = now() - interval '1 s' WHERE actor = 'robots';
SELECT counts('203.0.113.7'), counts('robots');
INSERT INTO counter_ext.blocked (network, until) VALUES ('203.0.0.0/16', now() + interval '1 h');
SELECT counts('203.0.113.7'), counts('robots');
INSERT INTO counter_ext.blocked (network) VALUES ('0.0.0.0/0'), ('::/0');
SELECT counts('8.8.8.8'), counts('::1'), counts('user:7');
DELETE FROM counter_ext.blocked WHERE network <> '::/0';
SELECT counts('8.8.8.8'), counts('::1');
INSERT INTO counter_ext.blocked (reason) VALUES ('nobody is named');
INSERT INTO counter_ext.blocked (network) VALUES ('203.0.113.7/24');
TRUNCATE counter_ext.blocked;
SELECT counts('203.0.113.7'), counts('::1');

-- One address, in whatever spelling it is written, in the list or by the actor.
INSERT INTO counter_ext.blocked (actor) VALUES ('2001:0DB8:5:0::1'), ('2001:db8:6::1'), ('::FFFF:198.51.100.1'), ('::1.2.3.4'), ('198.51.100.2'), ('1:2:3:4:5:6:7:8:9');
SELECT actor, network FROM counter_ext.blocked ORDER BY actor;
SELECT actor, counts(actor) FROM unnest('{2001:0DB8:5:0::1,2001:db8:5::1,2001:db8:5:0:0::1/128,2001:db8:5::2,2001:0db8:6:0:0::0001,198.51.100.1,::ffff:c633:6401,::102:304,::ffff:198.51.100.2,198.51.100.2/32,
    1:2:3:4:5:6:7:8:9}'::text[]) actor;
SELECT counter_incr_from('block:page', '2001:db8:5::1'::inet), counter_incr_from('block:page', '198.51.100.1/24'::inet), counter_incr_from('block:page', '198.51.100.3'::inet);
TRUNCATE counter_ext.blocked;

-- Letters: ASCII capitals are small ones, on both sides; rows may differ by them alone, and the latest time holds.
INSERT INTO counter_ext.blocked (actor, until) VALUES ('GoogleBot', 'infinity'), ('googlebot', '-infinity'), ('ÄRGER', NULL), ('{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}', NULL), ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', NULL);
SELECT actor, counts(actor) FROM unnest('{GoogleBot,googlebot,GOOGLEBOT,googlebots,google,Ärger,ärger,ÄRGER}'::text[]) actor;
SELECT actor, counts(actor), counter_visit('block:page', actor::uuid) FROM unnest('{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12,a0eebc999c0b4ef8bb6d6bb9bd380a12,a0eebc999c0b4ef8bb6d6bb9bd380a13}'::text[]) actor;
-- Where somebody has dropped the indexes it is slower, and right.
BEGIN;
INSERT INTO counter_ext.blocked (network) VALUES ('203.0.113.0/24');
DROP INDEX counter_ext.blocked_folded, counter_ext.blocked_network;
SELECT counts('GOOGLEBOT'), counts('googlebots'), counts('203.0.113.7'), counts('203.0.114.7');
ROLLBACK;
SELECT counts('GOOGLEBOT'), counts('googlebots');

-- Visits: whoever is blocked is no visitor, and their views are filtered.
INSERT INTO counter_ext.blocked (actor, network) VALUES ('bot', NULL), ('7', NULL), (NULL, '203.0.113.0/24');
SELECT counter_visit('block:v', 'bot', views => 2), counter_visit('block:v', 'BOT'), counter_visit('block:v', 7), counter_visit('block:v', 7::smallint, 3), counter_visit('block:v', '7'),
    counter_visit('block:v', '203.0.113.9'), counter_visit('block:v', '203.0.113.9'::inet), counter_visit('block:v', '203.0.113.9/20'::inet), counter_incr_from('block:page', '203.0.113.9/20'::inet), counter_incr_from('block:page', 7);
SELECT counter_visit('block:v', 8, views => 10), counter_visit('block:v', '203.0.114.9'::inet), counter_visit('block:v', NULL, views => 100),
    counter_visit('block:v', ARRAY['bot']), counter_visit('block:v', now()), counter_visit('block:v', repeat('bot', 1000));
SELECT counter_visitors('block:v'), counter_get('block:v'), counter_filtered('block:v');
SELECT counter_visit(790022, 'bot', 5), counter_visit('0a000000-0000-0000-0000-0000000000fe'::uuid, 7, 5), counter_filtered(790022), counter_visitors(790022), counter_filtered('0a000000-0000-0000-0000-0000000000fe');
-- An id that leaves no room for a filtered counter.
SELECT counter_visit(repeat('b', 255), 'bot', views => 1), counter_get(repeat('b', 255));
-- A transaction's own change holds from the next command on, and is taken back with it.
BEGIN;
DELETE FROM counter_ext.blocked WHERE actor = 'bot';
SELECT counter_visit('block:v', 'bot');
ROLLBACK;
SELECT counter_visit('block:v', 'bot'), counter_visitors('block:v');
BEGIN READ ONLY;
SELECT counter_visit('block:v', 'bot');
ROLLBACK;
-- A policy's rate is of views; one that counts nobody lets nobody visit.
INSERT INTO counter_ext.policy VALUES ('block:rated', 1, '1 hour', '1 hour'), ('block:closed', 0, '1 hour', NULL);
SELECT counter_incr_from('block:rated', 'gus'), counter_incr_from('block:rated', 'gus'), counter_visit('block:rated', 'gus', 1), counter_visit('block:rated', 'gus', 1), counter_get('block:rated'), counter_filtered('block:rated');
SELECT counter_visit('block:closed', 'gus', 1), counter_visit('block:closed', NULL, 1) IS NULL AS nobody, counter_visit('block:closed', now()), counter_incr_from('block:closed', 'gus'), counter_incr_from('block:closed', NULL), counter_visitors('block:closed'), counter_filtered('block:closed');
-- Nobody knows who: on no list, and without a rate.
SELECT counter_incr_from('block:rated', NULL), counter_incr_from('block:rated', NULL::bigint), counter_get('block:rated');
-- Who visits needs no right on the lists.
CREATE ROLE regress_blocked;
GRANT INSERT, UPDATE ON counter_ext.visitors, counter_ext.total TO regress_blocked;
SET ROLE regress_blocked;
SELECT counter_visit('block:v', 'bot', 1), counter_visit('block:v', 'hal', 1);
INSERT INTO counter_ext.blocked (actor) VALUES ('boss');
SELECT counter_ext.complete_blocked();
RESET ROLE;
GRANT INSERT, SELECT ON counter_ext.blocked TO regress_blocked;
SET ROLE regress_blocked;
INSERT INTO counter_ext.blocked (actor) VALUES ('192.0.2.0/24');
SELECT network FROM counter_ext.blocked WHERE actor = '192.0.2.0/24';
RESET ROLE;
DROP OWNED BY regress_blocked;
DROP ROLE regress_blocked;

TRUNCATE counter_ext.blocked, counter_ext.policy;
SELECT counter_visit('block:v', 'bot'), counter_incr_from('block:closed', 'gus');
SELECT count(counter_drop(id)) FROM unnest(ARRAY['block:page', 'block:v', 'block:rated', 'block:closed', '790022', '0a000000-0000-0000-0000-0000000000fe', repeat('b', 255)]) id;
DROP FUNCTION counts;
