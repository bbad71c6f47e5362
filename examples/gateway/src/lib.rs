//! An HTTP gateway that counts views and likes in PostgreSQL with counter_ext, and shows them live. README.md says how it is used.

pub mod client;
pub mod gateway;
mod http;
mod limits;
mod live;
mod outage;
mod queue;
pub mod settings;
mod store;
mod streams;
mod token;
mod views;
