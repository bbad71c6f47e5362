//! The gateway from its start to its end: what runs beside the requests, and in which order it stops.

use crate::limits::{self, Question};
use crate::live::{self, Live};
use crate::queue::{self, Queue};
use crate::settings::Settings;
use crate::store::Store;
use crate::streams::Streams;
use crate::views::{Tally, View, Writer};
use crate::{http, token};
use axum::serve::ListenerExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What requests work with.
pub struct App {
    pub settings: Settings,
    pub store: Arc<Store>,
    pub views: Queue<View>,
    /// `None`: clients may write as often as they like.
    pub questions: Option<Queue<Question>>,
    /// Likes and reads are not queued; this many of them are under way at most.
    pub direct: Semaphore,
    /// `None`: the store says nothing of its own accord.
    pub live: Option<Live>,
    pub streams: Arc<Streams>,
    /// The gateway stops: streams end, so that their connections do.
    pub stopping: CancellationToken,
    pub tally: Arc<Tally>,
}

pub struct Gateway {
    app: Arc<App>,
    listener: TcpListener,
    writers: JoinSet<()>,
    beside: JoinSet<()>,
    closing: CancellationToken,
    giving_up: CancellationToken,
    tally: Arc<Tally>,
}

/// What became of everything that was taken in.
#[derive(Debug)]
pub struct End {
    pub counted: u64,
    /// By the database. What found the queue full, or its client over his limit, was not taken in.
    pub refused: u64,
    pub given_up: u64,
}

impl Gateway {
    /// Listens, and has its writers ready. The store need not be there yet.
    pub async fn start(settings: Settings) -> Result<Gateway, String> {
        let store = Arc::new(Store::open(&settings).await?);
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|error| format!("{}: {error}", settings.listen))?;
        let (closing, giving_up) = (CancellationToken::new(), CancellationToken::new());
        let (mut writers, mut beside) = (JoinSet::new(), JoinSet::new());
        let tally = Arc::new(Tally::default());

        let (views, batches) = queue::bounded(settings.queue, settings.batch, closing.clone());
        let process = token::random();
        let mut number = 0;
        queue::start_writers(&mut writers, settings.writers, &batches, || {
            number += 1;
            let source = format!("gateway:{process}:{number}");
            let writer = Writer::new(Arc::clone(&store), Arc::clone(&tally), giving_up.clone(), source);
            let writer = Arc::new(tokio::sync::Mutex::new(writer));
            move |batch| {
                let writer = Arc::clone(&writer);
                async move { writer.lock().await.write(batch).await }
            }
        });

        let limited = settings.limit > 0 && matches!(*store, Store::Counter(_));
        let questions = limited.then(|| {
            let (questions, batches) = queue::bounded(limits::QUEUE, limits::MOST_AT_ONCE, closing.clone());
            queue::start_writers(&mut beside, limits::ASKERS, &batches, || {
                let (store, max) = (Arc::clone(&store), settings.limit);
                move |batch| {
                    let store = Arc::clone(&store);
                    async move { limits::answer(&store, max, batch).await }
                }
            });
            questions
        });

        let live = match &*store {
            Store::Counter(counter) => Some(live::start(&mut beside, counter.pool().clone(), &settings)?),
            _ => None,
        };
        let stopping = CancellationToken::new();
        let direct = Semaphore::new(settings.queue);
        let streams = Streams::new(settings.streams);
        let app = Arc::new(App {
            settings,
            store,
            views,
            questions,
            direct,
            live,
            streams,
            stopping,
            tally: Arc::clone(&tally),
        });
        Ok(Gateway { app, listener, writers, beside, closing, giving_up, tally })
    }

    pub fn address(&self) -> Result<SocketAddr, String> {
        self.listener.local_addr().map_err(|error| error.to_string())
    }

    /// Serves until `stop`; then takes no more connections, answers what is under way, counts what is queued, and ends.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Result<End, String> {
        let stopping = self.app.stopping.clone();
        let signal = {
            let stopping = stopping.clone();
            async move {
                stop.await;
                stopping.cancel();
            }
        };
        let listener = self.listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let service = http::router(Arc::clone(&self.app)).into_make_service_with_connect_info::<SocketAddr>();
        let serving =
            tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(signal).into_future());

        stopping.cancelled().await;
        let giving_up = self.giving_up.clone();
        let limit = self.app.settings.drain;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            giving_up.cancel();
        });
        tokio::select! {
            served = serving => served.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?,
            // Clients that do not take their answers; what they sent is counted all the same, in the time that is left.
            () = tokio::time::sleep(limit / 2) => (),
        }
        self.closing.cancel();
        let mut lost_writers = 0;
        while let Some(ended) = self.writers.join_next().await {
            lost_writers += u64::from(ended.is_err());
        }
        timer.abort();
        self.beside.shutdown().await;
        let Tally { counted, refused, given_up, .. } = &*self.tally;
        Ok(End {
            counted: counted.load(Relaxed),
            refused: refused.load(Relaxed),
            // Of a writer that has panicked nobody knows what it had taken.
            given_up: given_up.load(Relaxed) + lost_writers,
        })
    }
}
