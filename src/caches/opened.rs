//! A cache's definition with its tables open: what is counted of the rows, and as queries say the same.
//!
//! BOUND: what SQL says of one table's columns.

use super::arguments::{Definition, Through};
use super::errors::CacheError;
use super::{key_id, names};
use crate::errors::CounterError;
use crate::pg::counted::{Counted, Equality, and};
use crate::pg::key_form::KeyForm;
use crate::pg::key_text::KeyText;
use crate::pg::source::Source;
use crate::pg::table_query::{Condition, TableQuery};
use crate::pg::{Oid, catalog, privilege};

/// The counted table, and the one that leads from its rows to what counters are named by.
pub struct Opened {
    pub source: Source,
    pub counted: Counted,
    pub middle: Option<OpenedMiddle>,
}

pub struct OpenedMiddle {
    pub source: Source,
    /// By the column that keys refer to.
    pub by: Counted,
    /// By the column that names counters.
    pub to: Counted,
}

impl Opened {
    /// Errors: 42703 no such column; 0A000 the type of one; 42P01 no such middle table; 42804 its column does not match the key's;
    /// 42501 neither the table's owner nor the caller may read anything of the middle table.
    pub fn of(source: Source, definition: &Definition) -> Result<Opened, CounterError> {
        let readers = readers(&source);
        Opened::for_readers(source, definition, &readers)
    }

    /// Both tables, as far as the user may read them. Errors: as above; 42501 he may read nothing of one.
    pub fn for_reader(table: Oid, definition: &Definition, user: Oid) -> Result<Opened, CounterError> {
        Opened::for_readers(open_for(table, &[user])?, definition, &[user])
    }

    fn for_readers(source: Source, definition: &Definition, users: &[Oid]) -> Result<Opened, CounterError> {
        let counted = counted(&source, definition)?;
        let middle = definition.through.as_ref().map(|through| {
            let middle = open_for(oid_by_name(through.table.to_bytes())?, users)?;
            OpenedMiddle::of(middle, through)
        });
        Opened { source, counted, middle: middle.transpose()? }.checked()
    }

    /// As a trigger is made: the middle table only where it may be looked at. Errors: those of `of`, but 42501.
    pub fn of_created(
        source: Source,
        definition: &Definition,
        may_count: bool,
    ) -> Result<Opened, CounterError> {
        let is_readable = match &definition.through {
            Some(through) if may_count => may_open(oid_by_name(through.table.to_bytes())?, &readers(&source)),
            through => through.is_none(),
        };
        if is_readable {
            return Opened::of(source, definition);
        }
        let counted = counted(&source, definition)?;
        Ok(Opened { source, counted, middle: None })
    }

    fn checked(self) -> Result<Opened, CounterError> {
        if let Some(middle) = &self.middle
            && !self.refers_to(middle)
        {
            return Err(CacheError::MiddleKeyType { table: middle.source.name() }.into());
        }
        Ok(self)
    }

    /// Whether the key can be compared with the middle table's, and equal ones have the same text. Types of the same output function, such as
    /// any two enums, need not be the same.
    fn refers_to(&self, middle: &OpenedMiddle) -> bool {
        let (key, by) = (self.counted.key(), middle.by.key());
        let are_alike = !matches!(key.text, KeyText::Output(_))
            || self.source.base_type(key) == middle.source.base_type(by);
        are_alike && key.text.refers_to(by.text)
    }

    /// How the rest of a counter's id is made.
    pub fn key_form(&self) -> &KeyForm {
        self.middle.as_ref().map_or(self.counted.form(), |middle| middle.to.form())
    }

    /// Whether the user may read what is counted.
    pub fn may_be_read(&self, user: Oid) -> bool {
        self.counted.may_be_read(&self.source, user)
            && self.middle.as_ref().is_none_or(|middle| middle.may_be_read(user))
    }

    /// Errors: 0A000 equal keys may have different texts.
    pub fn check_keys(&self, definition: &Definition) -> Result<(), CounterError> {
        for key in &definition.keys {
            self.source.key_column(key)?;
        }
        if let (Some(middle), Some(through)) = (&self.middle, &definition.through) {
            middle.source.key_column(&through.by)?;
            middle.source.key_column(&through.to)?;
        }
        Ok(())
    }

    /// The query for what the rows of each key count for, as `key_id::complete` makes keys, in the order of their bytes.
    pub fn count_query(&self, prefix_bytes: usize) -> TableQuery {
        let unordered = match &self.middle {
            None => self.counted.count_query(&self.source),
            Some(middle) => self.joined_query(middle, None),
        };
        unordered.map(|sql| key_id::count_query(sql, self.key_form(), prefix_bytes))
    }

    /// The same of one key, through an index if there is one; of all, where the text is that of a digest.
    pub fn count_query_of(&self, key: &[u8], prefix_bytes: usize) -> Option<TableQuery> {
        if key_id::is_digest_of(self.key_form(), key) {
            return Some(self.count_query(prefix_bytes));
        }
        let unordered = match &self.middle {
            None => self.counted.count_query_of(&self.source, key)?,
            Some(middle) => {
                let condition = middle.to.has_key(&middle.source, "m", key)?;
                self.joined_query(middle, Some(&condition))
            }
        };
        Some(unordered.map(|sql| key_id::count_query(sql, self.key_form(), prefix_bytes)))
    }

    fn joined_query(&self, middle: &OpenedMiddle, condition: Option<&Condition>) -> TableQuery {
        let (by, key) = (middle.by.key(), self.counted.key());
        let (of_by, of_key) = (Equality::of(&middle.source, by), Equality::of(&self.source, key));
        let is_joined = of_by.holds(
            &of_by.side(&middle.source.column_sql("m", by.number())),
            &of_key.side(&self.source.column_sql("c", key.number())),
        );
        let sql = [
            b"SELECT ".as_slice(),
            &middle.to.key_sql(&middle.source, "m"),
            b" AS key, ",
            &self.counted.amount_sql(&self.source, "c"),
            b" AS count FROM ",
            &self.source.what_triggers_see(),
            b" AS c JOIN ",
            &middle.source.what_triggers_see(),
            b" AS m ON ",
            &is_joined.sql,
            b" WHERE ",
            &self.counted.condition_sql(&self.source, "c"),
            b" AND ",
            &middle.to.condition_sql(&middle.source, "m"),
            &and(condition),
            b" GROUP BY 1",
        ]
        .concat();
        TableQuery::of(sql, &[self.source.oid(), middle.source.oid()]).with(Some(&is_joined)).with(condition)
    }
}

impl OpenedMiddle {
    pub fn of(source: Source, through: &Through) -> Result<OpenedMiddle, CounterError> {
        let (by, to) = (Counted::by(&source, &through.by)?, Counted::by(&source, &through.to)?);
        Ok(OpenedMiddle { source, by, to })
    }

    /// Whether the user may read all rows, as far as they are looked at.
    pub fn may_be_read(&self, user: Oid) -> bool {
        self.by.may_be_read(&self.source, user) && self.to.may_be_read(&self.source, user)
    }

    /// Errors: 42501 the counted table's owner, with whose rights the rows are read, does not see all of them.
    pub fn check_is_read_by(&self, owner: Oid) -> Result<(), CounterError> {
        if !self.may_be_read(owner) {
            return Err(CacheError::MayNotRead { table: self.source.name() }.into());
        }
        // To its own owner a table hides nothing here (`confined::as_owner_of_all_rows`).
        if self.source.owner() != owner && privilege::row_security_applies(self.source.oid(), owner) {
            return Err(CacheError::RowSecurity { table: self.source.name() }.into());
        }
        Ok(())
    }
}

fn counted(source: &Source, definition: &Definition) -> Result<Counted, CounterError> {
    Counted::of(source, &definition.keys, definition.amount.as_deref(), definition.only.as_deref())
}

/// With whose rights a middle table is looked at, beside the caller's.
fn readers(source: &Source) -> [Oid; 2] {
    [source.owner(), privilege::current_user()]
}

/// Opening takes a lock that lasts: nobody holds one on a table that he has no right to, and could not name. What is gone may be opened, which says so.
fn may_open(table: Oid, users: &[Oid]) -> bool {
    privilege::owner_of_relation(table).is_none()
        || users
            .iter()
            .any(|user| privilege::may_use_schema_of(table, *user) && privilege::may_read_some(table, *user))
}

/// Opens a table that one of the users may read something of. Errors: 42501; 42P01.
fn open_for(table: Oid, users: &[Oid]) -> Result<Source, CounterError> {
    if !may_open(table, users) {
        return Err(CacheError::MayNotRead { table: catalog::relation_name(table).into_bytes() }.into());
    }
    Source::open(table)
}

/// Opens a table by its name with its schema. Errors: 42P01.
pub fn open_by_name(name: &[u8]) -> Result<Source, CounterError> {
    Source::open(oid_by_name(name)?)
}

fn oid_by_name(name: &[u8]) -> Result<Oid, CounterError> {
    let oid = match names::parts(name).as_deref() {
        Some([schema, table]) => catalog::relation(schema, table),
        _ => None,
    };
    oid.ok_or_else(|| CacheError::NoSuchTable { table: name.to_vec() }.into())
}
