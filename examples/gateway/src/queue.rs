//! A bounded queue of events and the writers that take them in batches.
//!
//! There is no timer that a batch waits for: a writer takes what has come meanwhile. So an event that comes alone is written at
//! once, and under load batches grow by themselves.

use std::future::Future;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where handlers put events.
pub struct Queue<T> {
    sender: mpsc::Sender<T>,
}

/// A place in the queue that is reserved: nobody else gets it, and putting something there cannot fail.
pub struct Place<'a, T> {
    permit: mpsc::Permit<'a, T>,
}

/// The queue has no place left, or takes nothing more since the gateway stops.
#[derive(Debug)]
pub struct Full;

/// Where writers take them.
pub struct Batches<T> {
    receiver: Mutex<mpsc::Receiver<T>>,
    most: usize,
    closing: CancellationToken,
}

/// Has room for `capacity` events; a batch has at most `most`. After `closing` nothing more is taken in, and what is there is
/// still handed out.
pub fn bounded<T>(capacity: usize, most: usize, closing: CancellationToken) -> (Queue<T>, Arc<Batches<T>>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Queue { sender }, Arc::new(Batches { receiver: Mutex::new(receiver), most, closing }))
}

impl<T> Queue<T> {
    pub fn reserve(&self) -> Result<Place<'_, T>, Full> {
        self.sender.try_reserve().map(|permit| Place { permit }).map_err(|_| Full)
    }
}

impl<T> Place<'_, T> {
    pub fn put(self, event: T) {
        self.permit.send(event);
    }
}

impl<T> Batches<T> {
    /// The next batch; empty once the queue is closed and nothing is left.
    async fn next(&self) -> Vec<T> {
        let mut batch = Vec::new();
        let mut receiver = self.receiver.lock().await;
        if !self.closing.is_cancelled() {
            tokio::select! {
                _ = receiver.recv_many(&mut batch, self.most) => return batch,
                () = self.closing.cancelled() => (),
            }
        }
        // Places that are reserved may still be used: recv_many waits for them.
        receiver.close();
        receiver.recv_many(&mut batch, self.most).await;
        batch
    }
}

/// Starts `number` writers, each of which hands batch after batch to a function of its own, until the queue is closed and empty.
pub fn start_writers<T, W, F>(
    writers: &mut JoinSet<()>,
    number: usize,
    batches: &Arc<Batches<T>>,
    mut writer: impl FnMut() -> W,
) where
    T: Send + 'static,
    W: FnMut(Vec<T>) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    for _ in 0..number {
        let (batches, mut write) = (Arc::clone(batches), writer());
        writers.spawn(async move {
            loop {
                let batch = batches.next().await;
                if batch.is_empty() {
                    return;
                }
                write(batch).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as Lock;

    fn drained(capacity: usize, most: usize, events: u32) -> Vec<Vec<u32>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let closing = CancellationToken::new();
            let (queue, batches) = bounded(capacity, most, closing.clone());
            for event in 0..events {
                if let Ok(place) = queue.reserve() {
                    place.put(event);
                }
            }
            let seen = Arc::new(Lock::new(Vec::new()));
            let mut writers = JoinSet::new();
            start_writers(&mut writers, 2, &batches, || {
                let seen = Arc::clone(&seen);
                move |batch| {
                    seen.lock().expect("batches").push(batch);
                    std::future::ready(())
                }
            });
            closing.cancel();
            while writers.join_next().await.is_some() {}
            assert!(queue.reserve().is_err(), "a closed queue takes nothing");
            std::mem::take(&mut *seen.lock().expect("batches"))
        })
    }

    #[test]
    fn what_is_queued_is_written_after_closing() {
        let batches = drained(100, 30, 70);
        assert!(batches.iter().all(|batch| batch.len() <= 30), "{batches:?}");
        let mut events: Vec<u32> = batches.concat();
        events.sort_unstable();
        assert_eq!(events, (0..70).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_refuses() {
        assert_eq!(drained(10, 100, 70).concat().len(), 10);
    }

    #[test]
    fn a_reserved_place_is_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let closing = CancellationToken::new();
            let (queue, batches) = bounded(1, 1, closing.clone());
            let place = queue.reserve().expect("a place");
            closing.cancel();
            let (batch, ()) = tokio::join!(batches.next(), async { place.put(7) });
            assert_eq!(batch, [7]);
        });
    }
}
