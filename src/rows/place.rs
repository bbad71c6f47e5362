//! A row's latest version, found from a place where one of its versions was seen before.
//!
//! A remembered place is only a hint: another row may live there by now, or none. It is used with its page pinned from check to
//! update, and after checking that the version there is one of the row's; then the chain of newer versions is followed.

use crate::pg::page::{Columns, LockedPage, Page, Status, Tid};
use crate::pg::process;
use crate::pg::table::Table;
use crate::pg::write::Candidate;

/// Pages followed before the place is given up.
const MAX_STEPS: usize = 4096;

/// What the way from a place led to.
pub enum Found<'t, T> {
    /// The latest version, which nobody else holds.
    Free(Candidate<'t>, T),
    /// The latest version, which somebody holds.
    Held(Tid),
    /// No version of the row: it is gone, or somewhere else.
    Nothing,
}

/// What a page leads to.
enum OnPage<'t, T> {
    End(Found<'t, T>),
    /// The newer version is on another page.
    Next(Tid),
}

/// Follows a row from a place in a block that the table has. `is_it` says whether a version is one of the row's; no other row may
/// ever be taken for it while this one lives.
pub fn follow<'t, T>(
    table: &'t Table,
    from: Tid,
    is_it: impl Fn(&Columns<'_>) -> bool,
    read: impl Fn(&Columns<'_>) -> T,
) -> Found<'t, T> {
    let mut page = Page::pin(table, from.block);
    page.prune();
    let mut at = from;
    for _ in 0..MAX_STEPS {
        if at.block != page.block() {
            // Behind a held snapshot the way can be long: it can be cancelled.
            process::check_for_interrupts();
            page = Page::pin(table, at.block);
            page.prune();
        }
        let on_page = follow_on_page(&page.lock_shared(), at.offset, &is_it, &read);
        match on_page {
            OnPage::End(found) => return found,
            OnPage::Next(next) => at = next,
        }
    }
    Found::Nothing
}

fn follow_on_page<'t, T>(
    page: &LockedPage<'_, 't>,
    offset: u16,
    is_it: impl Fn(&Columns<'_>) -> bool,
    read: impl Fn(&Columns<'_>) -> T,
) -> OnPage<'t, T> {
    let Some(mut offset) = page.resolve(offset) else { return OnPage::End(Found::Nothing) };
    let mut previous_xmax = None;
    loop {
        let Some(mut version) = page.version(offset) else { return OnPage::End(Found::Nothing) };
        if previous_xmax.is_some_and(|xmax| xmax != version.xmin()) {
            return OnPage::End(Found::Nothing);
        }
        let columns = version.columns();
        if !is_it(&columns) {
            return OnPage::End(Found::Nothing);
        }
        match version.status() {
            Status::Free => {
                let value = read(&columns);
                return OnPage::End(Found::Free(Candidate::new(&mut version), value));
            }
            Status::Changing(_) | Status::Locked(_) | Status::Mine => {
                return OnPage::End(Found::Held(version.tid()));
            }
            Status::Updated => match version.next() {
                Some(next) if next.block == version.tid().block => {
                    previous_xmax = Some(version.update_xid());
                    offset = next.offset;
                }
                Some(next) => return OnPage::Next(next),
                None => return OnPage::End(Found::Nothing),
            },
            Status::Deleted | Status::Unborn(_) => return OnPage::End(Found::Nothing),
        }
    }
}
