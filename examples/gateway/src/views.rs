//! Views on their way from a request to the store.

use crate::outage::Outage;
use crate::store::{Batch, Error, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One for all writers.
static OUTAGE: Outage =
    Outage::new("views are not counted yet, and are sent again", "views are counted again");

/// One view of an item, and who is to be told when it is counted.
pub struct View {
    pub id: String,
    pub told: oneshot::Sender<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Counted,
    /// The store refuses this item's views, each time again.
    Refused,
}

/// What is said when the gateway stops, and how it stands meanwhile.
#[derive(Default)]
pub struct Tally {
    pub counted: AtomicU64,
    pub refused: AtomicU64,
    /// The store did not answer before the gateway had to stop: not counted, or counted and not known to be.
    pub given_up: AtomicU64,
    /// The last attempt to write a batch failed in a way that is tried again.
    pub is_failing: AtomicBool,
}

/// Writes batches, one after the other, each as often as it takes.
pub struct Writer {
    store: Arc<Store>,
    tally: Arc<Tally>,
    /// The gateway can wait no longer.
    giving_up: CancellationToken,
    source: String,
    number: i64,
}

impl Writer {
    /// `source` is to be unlike that of any other writer, in this process or another.
    pub fn new(store: Arc<Store>, tally: Arc<Tally>, giving_up: CancellationToken, source: String) -> Writer {
        Writer { store, tally, giving_up, source, number: 0 }
    }

    pub async fn write(&mut self, views: Vec<View>) {
        let batch = self.batch(&views);
        let events = views.len() as u64;
        match self.count(&batch).await {
            Some(Outcome::Counted) => {
                self.tally.counted.fetch_add(events, Relaxed);
                tell(views, Outcome::Counted);
            }
            // One item is at fault, and the others are not to suffer from it.
            Some(Outcome::Refused) if batch.ids.len() > 1 => self.write_by_item(views).await,
            Some(Outcome::Refused) => {
                self.tally.refused.fetch_add(events, Relaxed);
                tell(views, Outcome::Refused);
            }
            None => {
                self.tally.given_up.fetch_add(events, Relaxed);
            }
        }
    }

    async fn write_by_item(&mut self, views: Vec<View>) {
        let mut by_item: BTreeMap<String, Vec<View>> = BTreeMap::new();
        for view in views {
            by_item.entry(view.id.clone()).or_default().push(view);
        }
        for views in by_item.into_values() {
            Box::pin(self.write(views)).await;
        }
    }

    fn batch(&mut self, views: &[View]) -> Batch {
        self.number += 1;
        let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
        for view in views {
            *totals.entry(&view.id).or_default() += 1;
        }
        let (ids, views) = totals.into_iter().map(|(id, views)| (id.to_owned(), views)).unzip();
        Batch { source: self.source.clone(), number: self.number, ids, views }
    }

    /// Tries until there is an outcome; `None`: the gateway had to stop first.
    async fn count(&self, batch: &Batch) -> Option<Outcome> {
        let mut pause = FIRST_PAUSE;
        loop {
            let result = tokio::select! {
                result = self.store.count(batch) => result,
                () = self.giving_up.cancelled() => return None,
            };
            self.tally.is_failing.store(matches!(result, Err(Error::Away(_))), Relaxed);
            OUTAGE.note(&result);
            match result {
                Ok(()) => return Some(Outcome::Counted),
                Err(Error::Refused(message)) => {
                    eprintln!("gateway: the store refuses {} items: {message}", batch.ids.len());
                    return Some(Outcome::Refused);
                }
                Err(Error::Away(_)) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => (),
                        () = self.giving_up.cancelled() => return None,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Who does not wait any more has been answered 202.
fn tell(views: Vec<View>, outcome: Outcome) {
    for view in views {
        let _ = view.told.send(outcome);
    }
}
