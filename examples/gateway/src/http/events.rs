//! GET /v1/events: what the page shows, once a second, as server-sent events.

use super::answers::Refusal;
use super::visitor::Address;
use crate::gateway::App;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::StreamExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::WatchStream;

/// A browser that has lost the stream asks for it again after this long.
const RETRY: Duration = Duration::from_secs(2);
/// Whoever holds a stream holds a connection. Each client may have a part of them: `--streams`.
const MOST_STREAMS: usize = 10_000;

pub async fn stream(
    State(app): State<Arc<App>>,
    Address(address): Address,
) -> Result<impl IntoResponse, Refusal> {
    let live = app.live.as_ref().ok_or(Refusal::NotHere)?;
    let frames = live.subscribe();
    if app.stopping.is_cancelled() || live.subscribers() > MOST_STREAMS {
        return Err(Refusal::Full);
    }
    let open = app.streams.open(address).ok_or(Refusal::Streams)?;
    // A slow client gets the newest frame next, never a queue of old ones.
    let events = WatchStream::new(frames)
        .filter(|frame| std::future::ready(!frame.is_empty()))
        .map(move |frame| {
            let _until_the_stream_ends = &open;
            Ok::<_, Infallible>(Event::default().event("frame").retry(RETRY).data(&*frame))
        })
        .take_until(app.stopping.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
