//! POST and DELETE /v1/likes, GET /v1/likes/{id}.
//!
//! A like is not queued: its client is told whether this call made it, which the database alone knows. A request that got no
//! answer can be sent again, and changes nothing then.

use super::answers::{Refusal, limit_headers};
use super::visitor::{Address, Item, checked};
use crate::gateway::App;
use crate::limits;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Deserialize)]
pub struct Like {
    #[serde(deserialize_with = "id")]
    item: String,
    #[serde(deserialize_with = "id")]
    actor: String,
}

/// 7 and "7" are the same one, as everywhere in counter_ext.
fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an id is a text or an integer")]
    enum Id {
        Integer(i64),
        Text(String),
    }
    Ok(match Id::deserialize(from)? {
        Id::Integer(number) => number.to_string(),
        Id::Text(text) => text,
    })
}

#[derive(Deserialize)]
pub struct Who {
    actor: Option<String>,
}

pub async fn like(
    State(app): State<Arc<App>>,
    Address(address): Address,
    body: Result<Json<Like>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(like) = body.map_err(|rejection| Refusal::Invalid(rejection.body_text()))?;
    change(&app, address, like, true).await
}

/// The like is in the query: many a proxy drops the body of a DELETE.
pub async fn unlike(
    State(app): State<Arc<App>>,
    Address(address): Address,
    query: Result<Query<Like>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(like) = query.map_err(|rejection| Refusal::Invalid(rejection.body_text()))?;
    change(&app, address, like, false).await
}

async fn change(app: &App, address: IpAddr, like: Like, wanted: bool) -> Result<Response, Refusal> {
    let (item, actor) = (checked("an item", like.item)?, checked("an actor", like.actor)?);
    let _turn = app.direct.try_acquire().map_err(|_| Refusal::Full)?;
    let limit = limits::take(app.questions.as_ref(), address.to_string()).await?;
    if let Some(limit) = limit.filter(|limit| !limit.allowed) {
        return Err(Refusal::Limited(limit));
    }
    let changed = app.store.like(&item, &actor, wanted).await?;
    let likes = app.store.likes(&item, None).await?.likes;
    let answer = json!({ "item": item, "liked": wanted, "changed": changed, "likes": likes });
    Ok((limit_headers(limit.as_ref()), Json(answer)).into_response())
}

pub async fn total(
    State(app): State<Arc<App>>,
    Item(item): Item,
    query: Result<Query<Who>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Query(who) = query.map_err(|rejection| Refusal::Invalid(rejection.body_text()))?;
    let actor = who.actor.map(|actor| checked("an actor", actor)).transpose()?;
    let _turn = app.direct.try_acquire().map_err(|_| Refusal::Full)?;
    let found = app.store.likes(&item, actor.as_deref()).await?;
    Ok(Json(match actor {
        Some(_) => json!({ "item": item, "likes": found.likes, "liked": found.liked }),
        None => json!({ "item": item, "likes": found.likes }),
    }))
}
