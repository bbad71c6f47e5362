//! `counter_list`: counters by id, page by page.

use pgrx::prelude::*;

use crate::counting::listing;
use crate::counting::read::{self, Standing};
use crate::errors::{CounterError, OrRaise, given};
use crate::pg::args::{TextArg, TextBytes};
use crate::pg::process;
use crate::rows::access::Tables;
use crate::rows::list::Id;

/// Counters read at once.
const BATCH: usize = 1000;

/// Counters whose ids begin with `prefix`, in the order of their ids' bytes, from the one after `after` on, at most `max_rows`: all that
/// are committed, and what the caller's transaction did. Columns are those of the view `counters`; each value is what `counter_get`
/// says, NULL and `overflowed` where it is outside bigint. A page far into the list costs what the first one does.
///
/// Errors: 22004 NULL prefix or max_rows; 22023 negative max_rows; 42501 SELECT on counter_ext.total is missing.
#[pg_extern(parallel_restricted)]
#[allow(clippy::type_complexity)]
fn counter_list(
    prefix: default!(Option<TextArg<'_>>, "''"),
    after: default!(Option<TextArg<'_>>, "NULL"),
    max_rows: default!(Option<i32>, 100),
) -> TableIterator<
    'static,
    (
        name!(id, TextBytes),
        name!(value, Option<i64>),
        name!(slots, i32),
        name!(updated_at, Option<TimestampWithTimeZone>),
        name!(overflowed, bool),
    ),
> {
    let list = || {
        let prefix = given("prefix", prefix)?.0;
        let max_rows = given("max_rows", max_rows)?;
        let left = usize::try_from(max_rows).map_err(|_| CounterError::NegativeArgument {
            argument: "max_rows",
            value: i64::from(max_rows),
        })?;
        listing::check_prefix(prefix)?;
        let tables = read::enter()?;
        // BOUND: the arguments of one call, which PostgreSQL holds too.
        let after = after.map_or_else(Id::default, |after| after.0.into());
        Ok::<_, CounterError>(Pages {
            tables,
            prefix: prefix.into(),
            after,
            left,
            page: Vec::new().into_iter(),
        })
    };
    TableIterator::new(list().or_raise().map(|(id, standing)| {
        let value = i64::try_from(standing.value).ok();
        let updated_at = process::timestamp(standing.updated_at_us);
        (TextBytes(id.into_vec()), value, standing.slots as i32, updated_at, value.is_none())
    }))
}

struct Pages {
    tables: Tables,
    prefix: Id,
    after: Id,
    left: usize,
    page: std::vec::IntoIter<(Id, Standing)>,
}

impl Iterator for Pages {
    type Item = (Id, Standing);

    fn next(&mut self) -> Option<Self::Item> {
        while self.page.len() == 0 && self.left > 0 {
            let limit = self.left.min(BATCH);
            let page = listing::page(self.tables, &self.prefix, &self.after, limit).or_raise();
            let Some(last) = page.last else {
                self.left = 0;
                return None;
            };
            self.after = last;
            self.left -= page.counters.len();
            self.page = page.counters.into_iter();
        }
        self.page.next()
    }
}
