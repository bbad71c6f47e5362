//! By how much the counters of likes differ from the likes, and mending it: after a restore that fired no triggers, or a TRUNCATE of
//! the counters' tables.
//!
//! Likes are counted in either mode, so a count may be in no row yet while its like is. A repair keeps other likes, and compaction,
//! out until it has compared both; one that only looks does not, and may show a like of this moment.

use super::rows::LIKED;
use crate::caches::drift::committed;
use crate::caches::join;
use crate::counting::reserved::{self, Kind};
use crate::counting::transaction::Own;
use crate::counting::{change, read, transaction};
use crate::errors::CounterError;
use crate::fallible;
use crate::memory::buffer;
use crate::pg::counted::Counted;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::Source;
use crate::pg::spi::Spi;
use crate::pg::{Oid, catalog, confined, process, table, xact};
use crate::rows::access::Tables;

/// An item whose counter differs from its likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub item: Vec<u8>,
    pub counted: i128,
    pub likes: i64,
}

const WHAT: &str = "likes that differ from their counts";
/// Counters mended in one go.
const BATCH: usize = 1000;

/// The table of likes, as SQL names it, and the items whose counters differ; with `repair`, also mends them.
pub fn verify(repair: bool) -> Result<(Vec<u8>, Vec<Difference>), CounterError> {
    let tables = read::enter()?;
    if !repair {
        let liked = LIKED.enter_to_read()?;
        return Ok((Source::open(liked)?.qualified_name(), compare(tables, liked, |_| Ok(()))?));
    }
    // The counters' tables first, as everything that counts does.
    let entered = change::enter_to_count_in_rows(table::owner(tables.total), "counter_verify")?;
    let liked = LIKED.enter_to_write(Rights::INSERT, "INSERT")?;
    let source = Source::open(liked)?;
    source.check_not_in_use(c"counter_verify");
    source.lock_against_writers();
    let mut batch = fallible::with_room(BATCH, WHAT)?;
    let differences = change::between_passes(tables, || {
        let found = compare(tables, liked, |difference| {
            let id = reserved::id(Kind::Likes, &difference.item)?;
            fallible::push(&mut batch, (id, i128::from(difference.likes) - difference.counted), WHAT)?;
            if batch.len() >= BATCH { change::mend(entered.0, std::mem::take(&mut batch)) } else { Ok(()) }
        })?;
        change::mend(entered.0, std::mem::take(&mut batch))?;
        Ok(found)
    })?;
    xact::see_own_changes();
    Ok((source.qualified_name(), differences))
}

/// Shows what differs under one snapshot, taken now, in the order of items.
fn compare(
    tables: Tables,
    liked: Oid,
    mut see: impl FnMut(&Difference) -> Result<(), CounterError>,
) -> Result<Vec<Difference>, CounterError> {
    let prefix = [Kind::Likes as u8];
    let source = Source::open(liked)?;
    let query = Counted::by(&source, c"item")?.ordered_count_query(&source);
    drop(source);
    let mut differences = Vec::new();
    confined::as_caller(|confined| {
        let in_no_row = in_no_row(tables, &prefix)?;
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let mut items = spi.pairs(&query)?;
        let likes = || {
            process::check_for_interrupts();
            let Some((item, likes)) = items.next_pair() else { return Ok(None) };
            // A number of rows.
            Ok(Some((reserved::id(Kind::Likes, &item)?, likes as i64)))
        };
        let counted = join::sum(committed(tables, &prefix), in_no_row);
        join::full_outer(likes, counted, |id, likes, counted| {
            let (likes, counted) = (likes.unwrap_or(0), counted.unwrap_or(0));
            if i128::from(likes) != counted {
                let item = fallible::copy(&id[prefix.len()..], WHAT)?;
                let difference = Difference { item, counted, likes };
                see(&difference)?;
                fallible::push(&mut differences, difference, WHAT)?;
            }
            Ok(())
        })?;
        drop(items);
        drop(spi);
        drop(active);
        Ok(differences)
    })
}

/// What is counted and in no row yet: pending in this transaction, or buffered. In the order of ids.
fn in_no_row(tables: Tables, prefix: &[u8]) -> Result<Own, CounterError> {
    let mut sums = transaction::own_after_prefix(tables, prefix)?;
    for amount in buffer::unfolded(u32::from(catalog::my_database()), u32::from(tables.total)) {
        if amount.id.starts_with(prefix) {
            fallible::push(&mut sums, (amount.id, amount.amount), WHAT)?;
        }
    }
    sums.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    sums.dedup_by(|(id, amount), (before, sum)| {
        let is_same = id == before;
        if is_same {
            *sum += *amount;
        }
        is_same
    });
    Ok(sums)
}
