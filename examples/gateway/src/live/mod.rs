//! What the page shows, as it ticks: one LISTEN for everybody, one frame a second for everybody.

mod frame;
mod listening;
mod rates;

use crate::outage::Outage;
use crate::settings::Settings;
use crate::store::counter::ALL_VIEWS;
use deadpool_postgres::Pool;
use frame::Frame;
use listening::{Heard, Total};
use rates::Rates;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const TICK: Duration = Duration::from_secs(1);
/// Seconds of the overall rate that a frame brings along.
const HISTORY: usize = 60;
/// Batches of changed totals that are heard and not looked at yet.
const HEARD: usize = 1000;

static STANDSTILL: Outage = Outage::new("the page stands still", "the page ticks again");
static MISSED: Outage = Outage::new(
    "the page does not show yet what changed while it heard nothing",
    "the page shows what changed while it heard nothing",
);

/// The newest frame, as JSON; empty before the first.
pub struct Live {
    frames: watch::Sender<Arc<str>>,
}

impl Live {
    pub fn subscribe(&self) -> watch::Receiver<Arc<str>> {
        self.frames.subscribe()
    }

    pub fn subscribers(&self) -> usize {
        self.frames.receiver_count()
    }
}

/// Starts to listen, and to make frames of what is heard.
pub fn start(tasks: &mut JoinSet<()>, pool: Pool, settings: &Settings) -> Result<Live, String> {
    let (sender, heard) = mpsc::channel(HEARD);
    let config = settings.database.parse::<tokio_postgres::Config>();
    let config = config.map_err(|error| format!("--database: {error}"))?;
    tasks.spawn(listening::listen(config, sender));
    let (frames, _) = watch::channel(Arc::from(""));
    tasks.spawn(tick(pool, heard, frames.clone()));
    Ok(Live { frames })
}

async fn tick(pool: Pool, mut heard: mpsc::Receiver<Heard>, frames: watch::Sender<Arc<str>>) {
    let (mut all, mut items) = (Rates::default(), Rates::default());
    let mut history = vec![0.0; HISTORY];
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What changed while nobody listened is to be read, as often as it takes.
    let mut has_missed = false;
    loop {
        tokio::select! {
            one = heard.recv() => match one {
                Some(Heard::Changed(totals)) => note(totals, &mut all, &mut items),
                Some(Heard::Begun) => has_missed = !read(&pool, &mut all, &mut items).await,
                None => return,
            },
            _ = ticks.tick() => {
                if has_missed {
                    has_missed = !read(&pool, &mut all, &mut items).await;
                }
                let now = Instant::now();
                let (views, rate) = all.of(ALL_VIEWS, now);
                history.rotate_left(1);
                history[HISTORY - 1] = rate;
                items.forget_idle(now);
                // Nobody looks: nothing is asked for, and who comes gets the frame of a second later.
                if frames.receiver_count() == 0 {
                    continue;
                }
                let frame = Frame::make(&pool, views, rate, &history, &items.fastest(frame::ROWS, now)).await;
                STANDSTILL.note(&frame);
                if let Ok(frame) = frame {
                    frames.send_replace(frame.into());
                }
            }
        }
    }
}

/// Whether the totals could be read.
async fn read(pool: &Pool, all: &mut Rates, items: &mut Rates) -> bool {
    let totals = frame::totals(pool, items.ids()).await;
    MISSED.note(&totals);
    totals.map(|totals| note(totals, all, items)).is_ok()
}

fn note(totals: Vec<Total>, all: &mut Rates, items: &mut Rates) {
    let now = Instant::now();
    for total in totals {
        match total.item() {
            Some(item) => items.note(item, total.value, now),
            None => all.note(ALL_VIEWS, total.value, now),
        }
    }
}
