//! What is asked of another node, and made there, over the connection that a subscription would use.
//!
//! BOUND: names of slots, and what a query of ours says of a server.

use std::ffi::{CStr, CString};

use super::errors::NodesError;
use crate::errors::CounterError;
use crate::pg::peer::Peer;
use crate::pg::privilege;
use crate::pg::spi;

/// What a node says of itself, as JSON. Anybody who may replicate may ask it.
const ABOUT: &CStr = c"SELECT pg_catalog.json_build_object(\
    'node', coalesce(pg_catalog.current_setting('counter_ext.node', true), '0'), \
    'version', (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name), \
    'wal_level', pg_catalog.current_setting('wal_level'), \
    'database', (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()), \
    'is_published', EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name), \
    'slots', (SELECT pg_catalog.json_object_agg(s.slot_name, s.wal_status) FROM pg_catalog.pg_replication_slots s \
        WHERE pg_catalog.starts_with(s.slot_name::pg_catalog.text, 'counter_node_')))::pg_catalog.text";

/// Errors: 42501 the caller is no superuser.
pub fn check_may() -> Result<(), CounterError> {
    if privilege::is_superuser(privilege::current_user()) {
        Ok(())
    } else {
        Err(NodesError::NotAllowed.into())
    }
}

/// Asks a node about itself. Errors: 42501; 08001 it does not answer.
pub fn about(parameters: &[u8]) -> Result<Option<Vec<u8>>, CounterError> {
    ask(parameters, ABOUT)
}

/// Makes a slot there. It stays if this transaction is rolled back. Errors: as above; 08001 also if there is one of that name.
pub fn make_slot(parameters: &[u8], name: &[u8]) -> Result<(), CounterError> {
    let name = spi::literal(&c_string(name.to_vec())?);
    let query = [
        b"SELECT s.slot_name::pg_catalog.text FROM pg_catalog.pg_create_logical_replication_slot(".as_slice(),
        &name,
        b", 'pgoutput') s",
    ]
    .concat();
    ask(parameters, &c_string(query)?).map(drop)
}

/// Drops a slot there, if there is one. Errors: as above; 08001 also while somebody uses it.
pub fn drop_slot(parameters: &[u8], name: &[u8]) -> Result<(), CounterError> {
    let name = spi::literal(&c_string(name.to_vec())?);
    let query = [
        b"SELECT pg_catalog.pg_drop_replication_slot(s.slot_name)::pg_catalog.text FROM pg_catalog.pg_replication_slots s \
            WHERE s.slot_name OPERATOR(pg_catalog.=) "
            .as_slice(),
        &name,
        b"::pg_catalog.name",
    ]
    .concat();
    ask(parameters, &c_string(query)?).map(drop)
}

fn c_string(query: Vec<u8>) -> Result<CString, CounterError> {
    CString::new(query).map_err(|_| CounterError::Internal("a query with a NUL".to_owned()))
}

fn ask(parameters: &[u8], query: &CStr) -> Result<Option<Vec<u8>>, CounterError> {
    check_may()?;
    Peer::connect(parameters)
        .and_then(|mut peer| peer.ask(query))
        .map_err(|reason| NodesError::CannotAsk { reason }.into())
}
