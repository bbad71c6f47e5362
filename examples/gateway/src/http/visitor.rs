//! Who asks, and what for.

use super::answers::Refusal;
use crate::gateway::App;
use crate::store::counter::PREFIX;
use axum::extract::{ConnectInfo, FromRequestParts, Path};
use axum::http::request::Parts;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What counter_ext takes as an id, in bytes.
const LONGEST_ID: usize = 255;

/// The address that a request comes from: the connection's, or what our proxy says.
pub struct Address(pub IpAddr);

impl FromRequestParts<Arc<App>> for Address {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Address, Refusal> {
        if app.settings.trust_proxy
            && let Some(last) = parts.headers.get_all("x-forwarded-for").into_iter().next_back()
        {
            let forwarded = last.to_str().ok().and_then(forwarded);
            return forwarded
                .map(Address)
                .ok_or_else(|| Refusal::Invalid("X-Forwarded-For names no address".to_owned()));
        }
        match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(address)) => Ok(Address(address.ip())),
            None => Err(Refusal::Invalid("there is no client address".to_owned())),
        }
    }
}

/// The item that the path names.
pub struct Item(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Item {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Item, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        let Path(item) = path.map_err(|rejection| Refusal::Invalid(rejection.body_text()))?;
        checked("an item", item).map(Item)
    }
}

/// The last entry: those before it are what the client has claimed.
fn forwarded(entries: &str) -> Option<IpAddr> {
    entries.rsplit(',').next()?.trim().parse().ok()
}

/// An item or an actor, as PostgreSQL can have it.
pub fn checked(what: &str, id: String) -> Result<String, Refusal> {
    let longest = LONGEST_ID - PREFIX.len();
    if id.is_empty() || id.len() > longest || id.contains('\0') {
        return Err(Refusal::Invalid(format!("{what} is 1 to {longest} bytes, none of them 0")));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_believed_and_the_client_is_not() {
        let address = |entries| forwarded(entries).map(|address| address.to_string());
        assert_eq!(address("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(address("1.2.3.4, 2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(address("1.2.3.4, unknown"), None);
        assert_eq!(address(""), None);
    }

    #[test]
    fn ids_are_what_postgres_takes() {
        assert!(checked("an item", "x".repeat(250)).is_ok());
        for id in [String::new(), "x".repeat(251), "a\0".to_owned()] {
            assert!(checked("an item", id).is_err());
        }
    }
}
