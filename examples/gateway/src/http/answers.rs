//! How the gateway says no, and the headers that go with yes.

use crate::queue::Full;
use crate::store::Error;
use crate::store::counter::Limit;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Seconds after which a client whom we could not serve may try again.
const SOON: i64 = 1;
/// Seconds after which a client that has too many streams may ask for another: somebody has to close one.
const LATER: i64 = 10;

pub enum Refusal {
    /// The request makes no sense as it is.
    Invalid(String),
    /// This client has made too many requests.
    Limited(Limit),
    /// This client has as many streams open as it may have.
    Streams,
    /// There is no such path.
    Nowhere,
    /// The path is there, and does not take this method.
    Method,
    /// There are too many requests. Nothing of this one was done.
    Full,
    /// The gateway is about to end.
    Stopping,
    /// The store does not answer.
    Away,
    /// The gateway had to stop before the store answered: it may be done or not, and sent again it might be done twice.
    Unknown,
    /// The store refuses this item.
    Unprocessable,
    /// This gateway's store does not do that.
    NotHere,
}

impl From<Full> for Refusal {
    fn from(_: Full) -> Refusal {
        Refusal::Full
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::Refused(message) => {
                eprintln!("gateway: the store refuses: {message}");
                Refusal::Unprocessable
            }
            // The store has said it.
            Error::Away(_) => Refusal::Away,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match &self {
            Refusal::Invalid(message) => (StatusCode::BAD_REQUEST, message.as_str()),
            Refusal::Limited(_) => (StatusCode::TOO_MANY_REQUESTS, "too many requests of this client"),
            Refusal::Streams => {
                (StatusCode::TOO_MANY_REQUESTS, "this client has too many streams open; close one")
            }
            Refusal::Nowhere => (StatusCode::NOT_FOUND, "there is no such path"),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method"),
            Refusal::Full => {
                (StatusCode::SERVICE_UNAVAILABLE, "the queue is full; nothing of this one was done")
            }
            Refusal::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is about to end"),
            Refusal::Away => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer"),
            Refusal::Unknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "the gateway stopped before the database answered; it may be counted",
            ),
            Refusal::Unprocessable => {
                (StatusCode::UNPROCESSABLE_ENTITY, "the database cannot count that item")
            }
            Refusal::NotHere => (StatusCode::NOT_IMPLEMENTED, "only --store counter does that"),
        };
        let mut headers = HeaderMap::new();
        match &self {
            Refusal::Limited(limit) => {
                headers = limit_headers(Some(limit));
                headers.insert(RETRY_AFTER, HeaderValue::from(limit.retry_seconds));
            }
            Refusal::Streams => {
                headers.insert(RETRY_AFTER, HeaderValue::from(LATER));
            }
            Refusal::Full | Refusal::Stopping | Refusal::Away => {
                headers.insert(RETRY_AFTER, HeaderValue::from(SOON));
            }
            _ => (),
        }
        (status, headers, Json(json!({ "error": message }))).into_response()
    }
}

/// What is left to a client, as `counter_limit` has said it.
pub fn limit_headers(limit: Option<&Limit>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(limit) = limit {
        headers.insert("ratelimit-limit", HeaderValue::from(limit.max));
        headers.insert("ratelimit-remaining", HeaderValue::from(limit.remaining));
        headers.insert("ratelimit-reset", HeaderValue::from(limit.reset_seconds));
    }
    headers
}
