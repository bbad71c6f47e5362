//! Views and likes in counters of counter_ext.

use super::{ANSWER_LIMIT, Batch, Error, Likes, Result};
use deadpool_postgres::{Object, Pool};

/// What an item's counter is called. Leaderboard, series and live totals are declared for this prefix: setup.sql.
pub const PREFIX: &str = "view:";
/// The views of all items. It is counted in each batch, and takes that as any hot counter does.
pub const ALL_VIEWS: &str = "views";

/// `counter_incr_many` with the number of the batch: one whose answer was lost with the connection is sent again, and counts once.
const COUNT: &str =
    "SELECT counter_apply($1::text, upto => $2::bigint, ids => $3::text[], deltas => $4::bigint[])";
const VIEWS: &str = "SELECT counter_get($1::text)";
const LIKE: &str = "SELECT counter_like($1::text, $2::text)";
const UNLIKE: &str = "SELECT counter_unlike($1::text, $2::text)";
const LIKES: &str = "SELECT counter_likes($1::text), CASE WHEN $2::text IS NOT NULL THEN counter_liked($1::text, $2::text) ELSE false END";
/// One question for everybody who asks at the same time.
const LIMITS: &str = "SELECT l.allowed, l.remaining, ceil(extract(epoch FROM l.reset_at - clock_timestamp()))::bigint,
        ceil(extract(epoch FROM l.retry_after))::bigint
    FROM unnest($1::text[]) WITH ORDINALITY AS client (address, place),
        LATERAL counter_limit('gateway:' || counter_address(client.address::inet), $2::bigint, '1 minute') AS l
    ORDER BY client.place";

pub struct Counter {
    pool: Pool,
    /// One for each writer.
    writing: Pool,
}

/// What `counter_limit` said of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub allowed: bool,
    pub max: i64,
    pub remaining: i64,
    pub reset_seconds: i64,
    pub retry_seconds: i64,
}

impl Counter {
    pub fn new(pool: Pool, writing: Pool) -> Counter {
        Counter { pool, writing }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sent again after an error, a batch counts once.
    pub async fn count(&self, batch: &Batch) -> Result<()> {
        let client = self.writing.get().await?;
        match tokio::time::timeout(ANSWER_LIMIT, count_by(&client, batch)).await {
            Ok(counted) => counted,
            Err(_) => {
                // Whatever it still waits for, nobody else is to wait behind it.
                drop(Object::take(client));
                Err(Error::Away(format!("no answer in {} s", ANSWER_LIMIT.as_secs())))
            }
        }
    }

    pub async fn views(&self, id: &str) -> Result<i64> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(VIEWS).await?;
        Ok(client.query_one(&statement, &[&format!("{PREFIX}{id}")]).await?.get(0))
    }

    pub async fn like(&self, item: &str, actor: &str, like: bool) -> Result<bool> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(if like { LIKE } else { UNLIKE }).await?;
        Ok(client.query_one(&statement, &[&item, &actor]).await?.get(0))
    }

    pub async fn likes(&self, item: &str, actor: Option<&str>) -> Result<Likes> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(LIKES).await?;
        let row = client.query_one(&statement, &[&item, &actor]).await?;
        Ok(Likes { likes: row.get(0), liked: row.get(1) })
    }

    /// Takes one request of each of these client addresses, at most `max` a minute.
    pub async fn limits(&self, addresses: &[String], max: i64) -> Result<Vec<Limit>> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(LIMITS).await?;
        let rows = client.query(&statement, &[&addresses, &max]).await?;
        let limit = |row: &tokio_postgres::Row| Limit {
            allowed: row.get(0),
            max,
            remaining: row.get(1),
            reset_seconds: row.get::<_, Option<i64>>(2).unwrap_or(0).max(0),
            retry_seconds: row.get::<_, Option<i64>>(3).unwrap_or(0).max(1),
        };
        Ok(rows.iter().map(limit).collect())
    }
}

async fn count_by(client: &Object, batch: &Batch) -> Result<()> {
    let statement = client.prepare_cached(COUNT).await?;
    let mut ids: Vec<String> = batch.ids.iter().map(|id| format!("{PREFIX}{id}")).collect();
    let mut views = batch.views.clone();
    ids.push(ALL_VIEWS.to_owned());
    views.push(batch.views.iter().sum());
    client.execute(&statement, &[&batch.source, &batch.number, &ids, &views]).await?;
    Ok(())
}
