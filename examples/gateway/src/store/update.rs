//! To be measured against: views in a plain row each, which every writer locks; likes in a table and a number beside it.

use super::{Batch, Likes, Result};
use deadpool_postgres::Pool;

const COUNT: &str = "INSERT INTO gateway_views AS v SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (id) DO UPDATE SET n = v.n + excluded.n";
const VIEWS: &str = "SELECT coalesce((SELECT n FROM gateway_views WHERE id = $1), 0)";
const LIKE: &str =
    "WITH made AS (INSERT INTO gateway_liked VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING item),
    counted AS (INSERT INTO gateway_likes AS l SELECT item, 1 FROM made ON CONFLICT (item) DO UPDATE SET n = l.n + 1 RETURNING 1)
    SELECT EXISTS (SELECT FROM counted)";
const UNLIKE: &str = "WITH gone AS (DELETE FROM gateway_liked WHERE item = $1 AND actor = $2 RETURNING item),
    counted AS (UPDATE gateway_likes SET n = n - 1 WHERE item IN (SELECT item FROM gone) RETURNING 1)
    SELECT EXISTS (SELECT FROM counted)";
const LIKES: &str = "SELECT coalesce((SELECT n FROM gateway_likes WHERE item = $1), 0),
    EXISTS (SELECT FROM gateway_liked WHERE item = $1 AND actor = $2)";

pub struct Update {
    pool: Pool,
}

impl Update {
    pub fn new(pool: Pool) -> Update {
        Update { pool }
    }

    pub async fn count(&self, batch: &Batch) -> Result<()> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(COUNT).await?;
        client.execute(&statement, &[&batch.ids, &batch.views]).await?;
        Ok(())
    }

    pub async fn views(&self, id: &str) -> Result<i64> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(VIEWS).await?;
        Ok(client.query_one(&statement, &[&id]).await?.get(0))
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
}
