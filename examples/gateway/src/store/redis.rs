//! To be measured against: views in a number each, likes in a set each.

use super::{Batch, Error, Likes, Result, STATEMENT_LIMIT_SECONDS};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use std::time::Duration;

pub struct Redis {
    /// One connection that requests share: commands of many go out together.
    connection: MultiplexedConnection,
}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Error {
        Error::Away(error.to_string())
    }
}

impl Redis {
    pub async fn open(url: &str) -> std::result::Result<Redis, String> {
        let client = redis::Client::open(url).map_err(|error| format!("--redis: {error}"))?;
        // As patient as with PostgreSQL. A command that is sent again after that may count twice.
        let limit = Duration::from_secs(STATEMENT_LIMIT_SECONDS.into());
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(limit));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map(|connection| Redis { connection }).map_err(|error| format!("--redis: {error}"))
    }

    pub async fn count(&self, batch: &Batch) -> Result<()> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for (id, &views) in batch.ids.iter().zip(&batch.views) {
            pipe.incr(format!("view:{id}"), views).ignore();
        }
        pipe.query_async::<()>(&mut self.connection.clone()).await?;
        Ok(())
    }

    pub async fn views(&self, id: &str) -> Result<i64> {
        let views: Option<i64> = self.connection.clone().get(format!("view:{id}")).await?;
        Ok(views.unwrap_or(0))
    }

    pub async fn like(&self, item: &str, actor: &str, like: bool) -> Result<bool> {
        let (key, mut connection) = (format!("liked:{item}"), self.connection.clone());
        let changed: i64 =
            if like { connection.sadd(key, actor).await? } else { connection.srem(key, actor).await? };
        Ok(changed > 0)
    }

    pub async fn likes(&self, item: &str, actor: Option<&str>) -> Result<Likes> {
        let (key, mut connection) = (format!("liked:{item}"), self.connection.clone());
        let likes = connection.scard(&key).await?;
        let liked = match actor {
            Some(actor) => connection.sismember(&key, actor).await?,
            None => false,
        };
        Ok(Likes { likes, liked })
    }
}
