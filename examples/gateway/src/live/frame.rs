//! One frame: everything that the page shows at a time.

use super::listening::Total;
use super::rates::Rate;
use crate::store::Result;
use crate::store::counter::{ALL_VIEWS, PREFIX};
use deadpool_postgres::Pool;
use serde::Serialize;

/// Rows of each list.
pub const ROWS: usize = 8;

const TRENDING: &str = "SELECT id, least(gained, 9223372036854775807)::bigint FROM counter_trending($1::text, '5 minutes', $2::integer)";
const BOARD: &str = "SELECT rank, member, score FROM counter_board_top($1::text, $2::integer, by => 'day')";
const LIKES: &str =
    "SELECT counter_likes(id) FROM unnest($1::text[]) WITH ORDINALITY AS item (id, place) ORDER BY place";

const TOTALS: &str = "SELECT id, value FROM counter_get_many($1::text[])";

#[derive(Serialize)]
pub struct Frame {
    views: i64,
    rate: f64,
    history: Vec<f64>,
    items: Vec<Item>,
    trending: Vec<Gain>,
    board: Vec<Score>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    views: i64,
    rate: f64,
    likes: i64,
}

#[derive(Serialize)]
struct Gain {
    id: String,
    gained: i64,
}

#[derive(Serialize)]
struct Score {
    rank: i64,
    id: String,
    views: i64,
}

impl Frame {
    /// As JSON.
    pub async fn make(
        pool: &Pool,
        views: i64,
        rate: f64,
        history: &[f64],
        fastest: &[Rate],
    ) -> Result<String> {
        let client = pool.get().await?;
        let statement = client.prepare_cached(TRENDING).await?;
        let rows = client.query(&statement, &[&PREFIX, &(ROWS as i32)]).await?;
        let item = |id: &str| id.strip_prefix(PREFIX).unwrap_or(id).to_owned();
        let trending = rows.iter().map(|row| Gain { id: item(row.get(0)), gained: row.get(1) }).collect();

        let statement = client.prepare_cached(BOARD).await?;
        let rows = client.query(&statement, &[&PREFIX, &(ROWS as i32)]).await?;
        let board = rows.iter().map(|row| Score { rank: row.get(0), id: row.get(1), views: row.get(2) });
        let board = board.collect();

        let statement = client.prepare_cached(LIKES).await?;
        let ids: Vec<&str> = fastest.iter().map(|rate| rate.id.as_str()).collect();
        let likes = client.query(&statement, &[&ids]).await?;
        let items = fastest.iter().zip(&likes).map(|(one, likes)| Item {
            id: one.id.clone(),
            views: one.value,
            rate: rounded(one.a_second),
            likes: likes.get(0),
        });
        let history = history.iter().copied().map(rounded).collect();
        let frame = Frame { views, rate: rounded(rate), history, items: items.collect(), trending, board };
        Ok(serde_json::to_string(&frame).unwrap_or_default())
    }
}

/// The totals of these items, of those that lead today, and of all: what a listener that begins has not heard.
pub async fn totals(pool: &Pool, known: impl Iterator<Item = &str>) -> Result<Vec<Total>> {
    let mut ids: Vec<String> = known.map(|id| format!("{PREFIX}{id}")).collect();
    ids.push(ALL_VIEWS.to_owned());
    let client = pool.get().await?;
    let statement = client.prepare_cached(BOARD).await?;
    let leaders = client.query(&statement, &[&PREFIX, &(ROWS as i32)]).await?;
    ids.extend(leaders.iter().map(|row| format!("{PREFIX}{}", row.get::<_, &str>(1))));
    ids.sort_unstable();
    ids.dedup();
    let statement = client.prepare_cached(TOTALS).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    // NULL: outside bigint, as where a change of it is heard.
    let value = |row: &tokio_postgres::Row| row.get::<_, Option<i64>>(1).unwrap_or(i64::MAX);
    Ok(rows.iter().map(|row| Total { id: row.get(0), value: value(row) }).collect())
}

fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
