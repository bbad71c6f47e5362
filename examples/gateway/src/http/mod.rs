//! The paths of the gateway.

mod answers;
mod events;
mod likes;
mod page;
mod views;
mod visitor;

use crate::gateway::App;
use answers::Refusal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of a request's body: an item and an actor.
const LONGEST_BODY: usize = 4096;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/views/{id}", post(views::count).get(views::total))
        .route("/v1/likes", post(likes::like).delete(likes::unlike))
        .route("/v1/likes/{id}", get(likes::total))
        .route("/v1/events", get(events::stream))
        .route("/healthz", get(health))
        .merge(page::router())
        .fallback(async || Refusal::Nowhere)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(app)
}

/// 200 while it is worth sending requests here: the store answers, views can be written to it, and the gateway is not about to stop.
async fn health(State(app): State<Arc<App>>) -> Result<&'static str, Refusal> {
    if app.stopping.is_cancelled() {
        return Err(Refusal::Stopping);
    }
    if app.tally.is_failing.load(Relaxed) {
        return Err(Refusal::Away);
    }
    app.store.views("health").await?;
    Ok("ok\n")
}
