//! Errors of making several servers count the same counters.
//!
//! BOUND: a message of libpq or of another server.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodesError {
    NotAllowed,
    /// Nobody answers.
    CannotReach {
        reason: Vec<u8>,
    },
    /// Another server does not do what it is asked for.
    Refuses {
        reason: Vec<u8>,
    },
}

impl Explain for NodesError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NotAllowed => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                "permission denied to have several servers count the same counters",
            )
            .hint("It makes a publication, slots and subscriptions: have a superuser call it."),
            Self::CannotReach { reason } => Explanation::new(
                ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                format!("another node cannot be reached: {}", text(&in_one_line(reason))),
            )
            .hint(HINT),
            Self::Refuses { reason } => Explanation::new(
                ERRCODE_CONNECTION_EXCEPTION,
                format!("another node does not answer as it should: {}", text(&in_one_line(reason))),
            )
            .hint(HINT),
        }
    }
}

const HINT: &str = "Its connection needs a role with REPLICATION, and SELECT on all tables in schema counter_ext; pg_hba.conf must let it in from here.";

/// A reason as part of a message: what libpq says comes in several lines.
fn in_one_line(reason: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in reason.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(word);
    }
    line
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(super::in_one_line(b" no route\n\tto host\n"), b"no route to host");
    }
}
