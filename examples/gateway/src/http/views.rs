//! POST and GET /v1/views/{id}.

use super::answers::{Refusal, limit_headers};
use super::visitor::{Address, Item};
use crate::gateway::App;
use crate::limits;
use crate::views::{Outcome, View};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// 200: the view is committed. 202: it is queued, since the client asked not to wait, or since the database takes long. 504: the
/// gateway had to stop while the database was away, and cannot know. Every other answer: it is not counted, and trying again is right.
pub async fn count(
    State(app): State<Arc<App>>,
    Address(address): Address,
    Item(id): Item,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // First a place: a client that finds none has not used up anything of its limit.
    let place = app.views.reserve()?;
    let limit = limits::take(app.questions.as_ref(), address.to_string()).await?;
    if let Some(limit) = limit.filter(|limit| !limit.allowed) {
        return Err(Refusal::Limited(limit));
    }
    let (told, outcome) = oneshot::channel();
    place.put(View { id: id.clone(), told });

    let mut headers_back = limit_headers(limit.as_ref());
    let asynchronous = wants_no_wait(&headers);
    if asynchronous {
        headers_back.insert("preference-applied", HeaderValue::from_static("respond-async"));
    } else {
        match tokio::time::timeout(app.settings.answer_within, outcome).await {
            Ok(Ok(Outcome::Counted)) => {
                return Ok((headers_back, Json(json!({ "item": id, "status": "counted" }))).into_response());
            }
            Ok(Ok(Outcome::Refused)) => return Err(Refusal::Unprocessable),
            // The gateway has given up, and says so when it ends.
            Ok(Err(_)) => return Err(Refusal::Unknown),
            Err(_) => (),
        }
    }
    let queued = Json(json!({ "item": id, "status": "queued" }));
    Ok((StatusCode::ACCEPTED, headers_back, queued).into_response())
}

/// `Prefer: respond-async`, RFC 7240.
fn wants_no_wait(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

pub async fn total(State(app): State<Arc<App>>, Item(id): Item) -> Result<Json<Value>, Refusal> {
    let _turn = app.direct.try_acquire().map_err(|_| Refusal::Full)?;
    let views = app.store.views(&id).await?;
    Ok(Json(json!({ "item": id, "views": views })))
}
