//! What other nodes have been asked to drop is forgotten once all of them have it.
//!
//! A request is the row of counter_ext.drop_request, in our log behind everything that was committed before. So a pass notes a place in the log and
//! which transactions had ended by then. Once the slots of all nodes are past that place, the rows of those transactions have arrived everywhere. A node that
//! has no slot, or whose slot is lost, has not taken them, and gets them with its next first copy.

use std::cell::RefCell;
use std::time::Duration;

use super::dropping::REQUEST;
use crate::errors::CounterError;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::session::session_local;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::{Access, Table};
use crate::rows::access::{Tables, as_owner};
use crate::rows::node;
use crate::settings;

/// A place in the log, and the first transaction that had not ended there, as PostgreSQL writes both.
struct Place {
    lsn: Vec<u8>,
    xid: Vec<u8>,
}

session_local! {
    /// BOUND: two short texts.
    static NOTED: RefCell<Option<Place>> = const { RefCell::new(None) };
}

const ANY: &str = "SELECT 1 FROM counter_ext.drop_request r WHERE r.node OPERATOR(pg_catalog.=) $1 LIMIT 1";
/// The snapshot is older than the place.
const HERE: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, \
    pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.xid::pg_catalog.text";
/// A node that has not taken what is before a place.
const BEHIND: &str = "SELECT m.node FROM counter_ext.member m WHERE m.left_at IS NULL AND m.node OPERATOR(pg_catalog.<>) $1 \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s \
        JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) s.database \
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
            AND s.slot_name::pg_catalog.text OPERATOR(pg_catalog.=) pg_catalog.concat('counter_node_', m.node, '_of_', d.oid) \
            AND s.wal_status OPERATOR(pg_catalog.<>) 'lost' AND s.confirmed_flush_lsn OPERATOR(pg_catalog.>=) $2::pg_catalog.pg_lsn) LIMIT 1";
const FORGET: &str = "DELETE FROM counter_ext.drop_request r WHERE r.node OPERATOR(pg_catalog.=) $1 \
    AND pg_catalog.age(r.xmin) OPERATOR(pg_catalog.>) pg_catalog.age($2::pg_catalog.xid)";

pub const FORGET_TAKEN: Step = Step {
    name: "forgetting what all nodes have dropped",
    every: Duration::from_secs(1),
    is_essential: false,
    begin: || Box::new(ForgetTaken),
};

struct ForgetTaken;

impl Work for ForgetTaken {
    fn next(&mut self, tables: Tables, _how: How) -> Result<Progress, CounterError> {
        const DONE: Progress = Progress { rows: 0, overflowed: 0, is_done: true };
        let Some(table) =
            REQUEST.find().filter(|_| node::is_one_of_many() && REQUEST.try_lock(Access::Write))
        else {
            return Ok(DONE);
        };
        // Most passes end here.
        if Table::open(table).blocks() == 0 {
            return Ok(DONE);
        }
        let own = Parameter::Int(settings::node());
        let active = ActiveSnapshot::push_latest();
        as_owner(tables, |confined| {
            let spi = Spi::connect(confined)?;
            if let Some(noted) = NOTED.take() {
                let behind = spi.rows_with(BEHIND.as_bytes(), &[own, Parameter::Text(&noted.lsn)])?;
                if !behind.is_empty() {
                    NOTED.set(Some(noted));
                    return Ok(());
                }
                spi.run_latest(FORGET.as_bytes(), &[own, Parameter::Text(&noted.xid)])?;
            }
            if !spi.rows_with(ANY.as_bytes(), &[own])?.is_empty() {
                NOTED.set(here(&spi)?);
            }
            Ok::<_, CounterError>(())
        })?;
        drop(active);
        Ok(DONE)
    }
}

fn here(spi: &Spi<'_>) -> Result<Option<Place>, CounterError> {
    let row = spi.rows(HERE.as_bytes())?.pop();
    let [lsn, xid] = row.unwrap_or_default().try_into().unwrap_or([None, None]);
    Ok(lsn.zip(xid).map(|(lsn, xid)| Place { lsn, xid }))
}
