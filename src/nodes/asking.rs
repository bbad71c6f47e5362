//! What is asked of another node, and made there, over the connection that a subscription would use.
//!
//! BOUND: names of slots, and what a query of ours says of a server.

use std::ffi::{CStr, CString};

use super::errors::NodesError;
use crate::errors::CounterError;
use crate::pg::peer::{self, Peer};
use crate::pg::privilege;
use crate::pg::spi;

/// Which version of the extension a node has, as JSON like what follows.
const VERSION: &CStr = c"SELECT pg_catalog.json_build_object('version', e.extversion)::pg_catalog.text FROM pg_catalog.pg_extension e \
    WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name";

/// What a node with the extension says of itself, as JSON. Anybody who may replicate, and read our tables, may ask it. `published` are the nodes
/// whose rows it publishes; `unpublished` those that have left, and whose rows it ought to publish, as the lowest that has not left. A publication is in no schema, so
/// one of that name may be anybody's, and have any tables: `is_a_superusers` (NULL where there is none) and `is_right` say so. It is no node's before
/// the node has a row of its own, which comes with it.
const ABOUT: &CStr = c"SELECT pg_catalog.json_build_object(\
    'node', coalesce(pg_catalog.current_setting('counter_ext.node', true), '0'), \
    'version', (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name), \
    'wal_level', pg_catalog.current_setting('wal_level'), \
    'database', (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()), \
    'is_a_superusers', (SELECT r.rolsuper FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.pubowner \
        WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name), \
    'is_set_up', EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name) \
        AND EXISTS (SELECT FROM counter_ext.member m \
            WHERE m.node OPERATOR(pg_catalog.=) coalesce(pg_catalog.current_setting('counter_ext.node', true), '0')::pg_catalog.int4), \
    'is_right', EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name \
        AND NOT p.puballtables \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid OPERATOR(pg_catalog.=) p.oid) \
        AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid) OPERATOR(pg_catalog.=) 5 \
        AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication_rel r \
            JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.prrelid \
            JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
            WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND n.nspname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name \
                AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['total', 'visitors', 'member', 'like_of_node', 'drop_request']::pg_catalog.name[])) \
            OPERATOR(pg_catalog.=) 5), \
    'published', (SELECT pg_catalog.string_to_array(pg_catalog.substring(p.rowfilter, 'ARRAY[[]([0-9, ]+)[]]'), ', ') \
        FROM pg_catalog.pg_publication_tables p WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name \
            AND p.schemaname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name AND p.tablename OPERATOR(pg_catalog.=) 'member'::pg_catalog.name), \
    'unpublished', (SELECT pg_catalog.array_agg(m.node ORDER BY m.node) FROM counter_ext.member m WHERE m.left_at IS NOT NULL \
        AND (SELECT pg_catalog.min(o.node) FROM counter_ext.member o WHERE o.left_at IS NULL) \
            OPERATOR(pg_catalog.=) coalesce(pg_catalog.current_setting('counter_ext.node', true), '0')::pg_catalog.int4 \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_tables p \
            WHERE p.pubname OPERATOR(pg_catalog.=) 'counter_node'::pg_catalog.name \
                AND p.schemaname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name AND p.tablename OPERATOR(pg_catalog.=) 'member'::pg_catalog.name \
                AND m.node::pg_catalog.text OPERATOR(pg_catalog.=) ANY \
                    (pg_catalog.string_to_array(pg_catalog.substring(p.rowfilter, 'ARRAY[[]([0-9, ]+)[]]'), ', ')))), \
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

/// Errors: 42501; 42601 libpq cannot read the parameters, with parts of them in the message.
pub fn check_parameters(parameters: &[u8]) -> Result<(), CounterError> {
    check_may()?;
    peer::check_parameters(parameters).map_err(|reason| NodesError::CannotReach { reason }.into())
}

/// Asks a node about itself; `None` where it does not have the extension. Errors: 42501; 08001 it cannot be reached; 08000 it refuses.
pub fn about(parameters: &[u8]) -> Result<Option<Vec<u8>>, CounterError> {
    let mut peer = connect(parameters)?;
    let refused = |reason| NodesError::Refuses { reason };
    match peer.ask(VERSION).map_err(refused)? {
        Some(_) => Ok(peer.ask(ABOUT).map_err(refused)?),
        None => Ok(None),
    }
}

/// Makes a slot there. It stays if this transaction is rolled back. Errors: as above; 08000 also if there is one of that name.
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

/// Drops a slot there, if there is one. Errors: as above; 08000 also while somebody uses it.
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
    connect(parameters)?.ask(query).map_err(|reason| NodesError::Refuses { reason }.into())
}

fn connect(parameters: &[u8]) -> Result<Peer, CounterError> {
    check_may()?;
    Peer::connect(parameters).map_err(|reason| NodesError::CannotReach { reason }.into())
}
