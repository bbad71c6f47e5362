//! How often a client may write. `counter_limit` decides; clients that ask at the same time are one query.

use crate::queue::{Full, Queue};
use crate::store::counter::Limit;
use crate::store::{Error, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::oneshot;

/// Clients that wait to be asked for: each is a request that is being answered.
pub const QUEUE: usize = 10_000;
pub const MOST_AT_ONCE: usize = 500;
pub const ASKERS: usize = 2;
/// While the database does not say, writes are let through: what is queued is bounded anyway.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Question {
    address: String,
    told: oneshot::Sender<Limit>,
}

/// Takes one request of a client. `None`: there is no limit, or the database does not say.
pub async fn take(questions: Option<&Queue<Question>>, address: String) -> Result<Option<Limit>, Full> {
    let Some(questions) = questions else { return Ok(None) };
    let (told, answer) = oneshot::channel();
    questions.reserve()?.put(Question { address, told });
    Ok(tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok))
}

pub async fn answer(store: &Arc<Store>, max: i64, questions: Vec<Question>) {
    // Who has lost patience is asked for no more: nothing is to be taken of them.
    let questions: Vec<Question> =
        questions.into_iter().filter(|question| !question.told.is_closed()).collect();
    let (addresses, told): (Vec<_>, Vec<_>) =
        questions.into_iter().map(|question| (question.address, question.told)).unzip();
    match limits(store, &addresses, max).await {
        Ok(limits) => {
            HAS_FAILED.store(false, Relaxed);
            for (told, limit) in told.into_iter().zip(limits) {
                let _ = told.send(limit);
            }
        }
        Err(error) if !HAS_FAILED.swap(true, Relaxed) => {
            eprintln!("gateway: writes are not limited until this is over: {error}");
        }
        Err(_) => (),
    }
}

/// Said once, not each time.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

async fn limits(store: &Arc<Store>, addresses: &[String], max: i64) -> Result<Vec<Limit>, Error> {
    match &**store {
        Store::Counter(counter) if !addresses.is_empty() => counter.limits(addresses, max).await,
        _ => Ok(Vec::new()),
    }
}
