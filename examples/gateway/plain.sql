-- What the gateway needs for --store update, to be measured against: a row an item, as people write it by hand.
CREATE TABLE gateway_views (id text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE gateway_likes (item text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE gateway_liked (item text, actor text, PRIMARY KEY (item, actor));
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_views, gateway_likes, gateway_liked TO gateway;
