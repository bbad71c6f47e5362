//! Several servers that count the same counters: what the procedures in `sql/nodes.sql` need of the extension.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use super::triggers::own_table;

use crate::errors::{CounterError, OrRaise};
use crate::likes;
use crate::likes::by_node::OF_NODE;
use crate::nodes::asking;
use crate::pg::args::{TextArg, TextBytes};
use crate::pg::process;
use crate::rows::replicated;

/// Errors: 39P01 the trigger is on another table than counter_ext.like_of_node.
fn receive_word(trigger: &PgTrigger<'_>) -> Result<(), CounterError> {
    let table = own_table(trigger)?;
    let Some(row) = trigger.new().filter(|_| OF_NODE.find() == Some(table)) else { return Ok(()) };
    let item = row.get_by_name::<TextBytes>("item").ok().flatten();
    let actor = row.get_by_name::<TextBytes>("actor").ok().flatten();
    let at = row.get_by_name::<TimestampWithTimeZone>("at").ok().flatten();
    match (item, actor, at) {
        (Some(item), Some(actor), Some(at)) => likes::receive(&item.0, &actor.0, process::timestamp_us(at)),
        _ => Ok(()),
    }
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Errors: 42501 the caller is no superuser.
    #[pg_extern]
    fn check_may_set_up_nodes() {
        asking::check_may().or_raise()
    }

    /// Errors: 55000 a row of this number does not come from another server.
    #[pg_extern(strict)]
    fn check_node_of_row(number: i32) {
        replicated::check_node(number).or_raise()
    }

    /// Row trigger on counter_ext.like_of_node, of rows that have come by replication: the like is there, or not, as the word says that holds.
    ///
    /// Errors: 39P01 on other tables.
    #[pg_trigger]
    fn receive_like<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        receive_word(trigger).or_raise();
        Ok(trigger.new())
    }

    /// Checks that libpq can read the parameters of a connection.
    ///
    /// Errors: 42501; 42601 it cannot, with parts of them in the message.
    #[pg_extern(strict)]
    fn check_node_parameters(parameters: TextArg<'_>) {
        asking::check_parameters(parameters.0).or_raise()
    }

    /// What the node behind these parameters of libpq says of itself, as JSON; NULL where it does not have the extension.
    ///
    /// Errors: 42501; 08001 it cannot be reached; 08000 it refuses.
    #[pg_extern(strict)]
    fn ask_node(parameters: TextArg<'_>) -> Option<TextBytes> {
        asking::about(parameters.0).or_raise().map(TextBytes)
    }

    /// Makes a logical replication slot there. It stays where this transaction is rolled back.
    ///
    /// Errors: 42501; 08001 it cannot be reached; 08000 it refuses.
    #[pg_extern(strict)]
    fn make_node_slot(parameters: TextArg<'_>, slot: TextArg<'_>) {
        asking::make_slot(parameters.0, slot.0).or_raise()
    }

    /// Drops a replication slot there, if there is one.
    ///
    /// Errors: 42501; 08001 it cannot be reached; 08000 it refuses, or the slot is in use.
    #[pg_extern(strict)]
    fn drop_node_slot(parameters: TextArg<'_>, slot: TextArg<'_>) {
        asking::drop_slot(parameters.0, slot.0).or_raise()
    }
}

extension_sql_file!(
    "../../sql/nodes.sql",
    name = "counter_nodes",
    requires = [
        "counter_likes_tables",
        "counter_visitors_tables",
        "by_hand_triggers",
        counter_ext::check_may_set_up_nodes,
        counter_ext::check_node_of_row,
        counter_ext::receive_like,
        counter_ext::check_node_parameters,
        counter_ext::ask_node,
        counter_ext::make_node_slot,
        counter_ext::drop_node_slot
    ]
);

extension_sql_file!("../../sql/node_links.sql", name = "counter_node_links", requires = ["counter_nodes"]);
