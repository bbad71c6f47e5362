//! Several servers that count the same counters: what the procedures in `sql/nodes.sql` need of the extension.

use pgrx::prelude::*;

use crate::errors::OrRaise;
use crate::nodes::asking;
use crate::pg::args::{TextArg, TextBytes};
use crate::rows::replicated;

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

    /// What the node behind these parameters of libpq says of itself, as JSON.
    ///
    /// Errors: 42501; 08001 it does not answer.
    #[pg_extern(strict)]
    fn ask_node(parameters: TextArg<'_>) -> Option<TextBytes> {
        asking::about(parameters.0).or_raise().map(TextBytes)
    }

    /// Makes a logical replication slot there. It stays where this transaction is rolled back.
    ///
    /// Errors: 42501; 08001 it does not answer, or refuses.
    #[pg_extern(strict)]
    fn make_node_slot(parameters: TextArg<'_>, slot: TextArg<'_>) {
        asking::make_slot(parameters.0, slot.0).or_raise()
    }

    /// Drops a replication slot there, if there is one.
    ///
    /// Errors: 42501; 08001 it does not answer, or the slot is in use.
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
        counter_ext::ask_node,
        counter_ext::make_node_slot,
        counter_ext::drop_node_slot
    ]
);
