//! What the rows of a table count for: a key as text, and an amount. Read from a row at hand (`read`), and as SQL says the same
//! (`key_sql`, `amount_sql`, `condition_sql`).
//!
//! BOUND: columns of one table, and what SQL says of them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::errors::SourceError;
use super::key_form::{self, KeyForm};
use super::source::{Column, Source};
use super::table_query::{Condition, TableQuery, Value};
use super::{Oid, privilege, type_ids};
use crate::errors::{CounterError, OrRaise};

/// How a table's rows are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    keys: Vec<Column>,
    form: KeyForm,
    amount: Option<Amount>,
    only: Option<i16>,
    /// The highest number of a column that is looked at.
    last: i16,
}

/// A column of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    number: i16,
    type_oid: u32,
}

impl Counted {
    /// Errors: 42703 no such column; 0A000 the type of a column of the key, the amount or the condition.
    pub fn of(
        source: &Source,
        keys: &[CString],
        amount: Option<&CStr>,
        only: Option<&CStr>,
    ) -> Result<Counted, CounterError> {
        let keys = keys.iter().map(|key| source.column(key)).collect::<Result<Vec<_>, _>>()?;
        let amount = match amount {
            None => None,
            Some(name) => {
                let (number, type_oid) = source.column_type(name)?;
                match u32::from(type_oid) {
                    type_oid @ (type_ids::INT2 | type_ids::INT4 | type_ids::INT8) => {
                        Some(Amount { number, type_oid })
                    }
                    _ => return Err(SourceError::AmountType { column: name.to_bytes().to_vec() }.into()),
                }
            }
        };
        let only = match only {
            None => None,
            Some(name) => match source.column_type(name)? {
                (number, type_oid) if u32::from(type_oid) == type_ids::BOOL => Some(number),
                _ => return Err(SourceError::ConditionType { column: name.to_bytes().to_vec() }.into()),
            },
        };
        let others = amount.map(|amount| amount.number).into_iter().chain(only);
        let last = keys.iter().map(|key| key.number).chain(others).max().unwrap_or(0);
        let form = KeyForm::new(keys.iter().map(|key| key.text).collect());
        Ok(Counted { keys, form, amount, only, last })
    }

    /// The rows of a table by one column.
    pub fn by(source: &Source, column: &CStr) -> Result<Counted, CounterError> {
        Counted::of(source, &[column.to_owned()], None, None)
    }

    pub fn form(&self) -> &KeyForm {
        &self.form
    }

    /// The first column of the key.
    pub fn key(&self) -> Column {
        self.keys[0]
    }

    /// The numbers of all columns that are looked at.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i16> {
        let amount = self.amount.map(|amount| amount.number);
        self.keys.iter().map(|key| key.number).chain(amount).chain(self.only)
    }

    /// Appends a row's key, and returns what the row counts for; `None` where it does not count. This is the one place where the key
    /// of a row at hand becomes text.
    ///
    /// # Safety
    /// The slot must hold a row of the table that `self` was made for.
    pub(super) unsafe fn read(&self, slot: *mut pg_sys::TupleTableSlot, key: &mut Vec<u8>) -> Option<i64> {
        // SAFETY: by the caller's promise; after slot_getsomeattrs the arrays are filled up to the last column. A value that is not NULL
        // is of its column's type.
        unsafe {
            if ((*slot).tts_nvalid as u16) < self.last as u16 {
                pg_sys::slot_getsomeattrs(slot, i32::from(self.last));
            }
            let value = |number: i16| {
                let at = number as usize - 1;
                (!*(*slot).tts_isnull.add(at)).then(|| *(*slot).tts_values.add(at))
            };
            if self.only.is_some_and(|only| value(only).is_none_or(|only| only.value() as u8 == 0)) {
                return None;
            }
            let before = key.len();
            for (at, column) in self.keys.iter().enumerate() {
                let Some(datum) = value(column.number) else {
                    key.truncate(before);
                    return None;
                };
                if at > 0 {
                    key.push(b':');
                }
                let from = key.len();
                column.text.append(datum, key);
                if self.form.escapes(at) {
                    key_form::escape_after(key, from).or_raise();
                }
            }
            let Some(amount) = self.amount else { return Some(1) };
            Some(value(amount.number).map_or(0, |datum| match amount.type_oid {
                type_ids::INT2 => i64::from(datum.value() as i16),
                type_ids::INT4 => i64::from(datum.value() as i32),
                _ => datum.value() as i64,
            }))
        }
    }

    /// Whether the user may read what is counted.
    pub fn may_be_read(&self, source: &Source, user: Oid) -> bool {
        privilege::may_use_schema_of(source.oid(), user)
            && self.numbers().all(|number| privilege::may_read_column(source.oid(), number, user))
    }

    /// The query for what the rows of each key count for, in columns `key` and `count`, in any order.
    pub fn count_query(&self, source: &Source) -> TableQuery {
        self.count_query_where(source, None)
    }

    /// The same in the order of the keys' bytes.
    pub fn ordered_count_query(&self, source: &Source) -> TableQuery {
        self.count_query(source).map(|sql| [sql, b" ORDER BY 1"].concat())
    }

    /// The same of one key, through an index if there is one; nothing where the text is no key's.
    pub fn count_query_of(&self, source: &Source, key: &[u8]) -> Option<TableQuery> {
        let condition = self.has_key(source, "c", key)?;
        Some(self.count_query_where(source, Some(&condition)))
    }

    /// The same of rows for which a further condition holds too; the table's alias is `c`.
    pub fn count_query_where(&self, source: &Source, condition: Option<&Condition>) -> TableQuery {
        let sql = [
            b"SELECT ".as_slice(),
            &self.key_sql(source, "c"),
            b" AS key, ",
            &self.amount_sql(source, "c"),
            b" AS count FROM ",
            &source.what_triggers_see(),
            b" AS c WHERE ",
            &self.condition_sql(source, "c"),
            &and(condition),
            b" GROUP BY 1",
        ]
        .concat();
        TableQuery::of(sql, &[source.oid()]).with(condition)
    }

    /// The expression of the key's text, of rows that `condition_sql` holds for.
    pub fn key_sql(&self, source: &Source, alias: &str) -> Vec<u8> {
        let mut sql = Vec::new();
        for (at, column) in self.keys.iter().enumerate() {
            if at > 0 {
                sql.extend_from_slice(b" OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) ");
            }
            let text = column.text.sql(&source.column_sql(alias, column.number));
            if self.form.escapes(at) {
                sql.extend_from_slice(b"pg_catalog.replace(pg_catalog.replace(");
                sql.extend_from_slice(&text);
                sql.extend_from_slice(br", E'\\', E'\\\\'), ':', E'\\:')");
            } else {
                sql.extend_from_slice(&text);
            }
        }
        [b"(".as_slice(), &sql, b") COLLATE pg_catalog.\"C\""].concat()
    }

    /// The aggregate of what rows count for: a bigint, or the text of a whole number.
    pub fn amount_sql(&self, source: &Source, alias: &str) -> Vec<u8> {
        match self.amount {
            None => b"pg_catalog.count(*)".to_vec(),
            Some(amount) => [
                b"pg_catalog.sum(COALESCE(".as_slice(),
                &source.column_sql(alias, amount.number),
                b"::pg_catalog.int8, 0::pg_catalog.int8))::pg_catalog.text",
            ]
            .concat(),
        }
    }

    /// The condition that a row counts.
    pub fn condition_sql(&self, source: &Source, alias: &str) -> Vec<u8> {
        let mut conditions: Vec<Vec<u8>> = Vec::new();
        for key in &self.keys {
            conditions.push([&source.column_sql(alias, key.number), b" IS NOT NULL".as_slice()].concat());
        }
        if let Some(only) = self.only {
            conditions.push([&source.column_sql(alias, only), b" IS TRUE".as_slice()].concat());
        }
        conditions.join(b" AND ".as_slice())
    }

    /// The condition that a row has this key, as an index can tell it; nothing where the text is no key's.
    pub fn has_key(&self, source: &Source, alias: &str, text: &[u8]) -> Option<Condition> {
        let parts = self.form.split(text)?;
        let mut conditions = Vec::new();
        for ((column, part), number) in self.keys.iter().zip(parts).zip(1..) {
            if !column.text.can_say(&part) {
                return None;
            }
            let equality = Equality::of(source, *column);
            let side = equality.side(&source.column_sql(alias, column.number));
            // PostgreSQL reads it as a C string.
            let text = CString::new(part).ok()?.into_bytes();
            let value = Value { type_oid: equality.operand, text };
            let condition = equality.holds(&side, format!("${number}").as_bytes());
            conditions.push(Condition { values: vec![value], ..condition });
        }
        Some(Condition::all(conditions))
    }
}

/// How SQL asks whether a column has a value.
///
/// Both sides are cast to what the operator of the column's type takes: for any other type, a domain over that one for example, whoever may
/// create operators in its schema could have made one that PostgreSQL prefers, and it would run with the rights of whoever asks. Such a
/// cast runs nothing: from a domain to what it is over, or where the values are the same bytes.
pub struct Equality {
    operator: Vec<u8>,
    operator_oid: Oid,
    operand: Oid,
}

impl Equality {
    pub fn of(source: &Source, column: Column) -> Equality {
        let base = source.base_type(column);
        // SAFETY: syscache look-ups inside a transaction; the entry lives as long as the process, names are palloc'd.
        unsafe {
            let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_EQ_OPR as i32);
            let operator = (*entry).eq_opr;
            if operator == pg_sys::InvalidOid {
                let sql = b"OPERATOR(pg_catalog.=)".to_vec();
                return Equality { operator: sql, operator_oid: operator, operand: base };
            }
            let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::op_input_types(operator, &mut left, &mut right);
            let name = CStr::from_ptr(pg_sys::get_opname(operator));
            let schema = schema_of_operator(operator);
            Equality {
                operator: [b"OPERATOR(".as_slice(), &schema, b".", name.to_bytes(), b")"].concat(),
                operator_oid: operator,
                // All enums have one operator, of pg_catalog, where nobody makes another.
                operand: if is_polymorphic(left) { base } else { left },
            }
        }
    }

    /// The condition that one side equals the other.
    pub fn holds(&self, one: &[u8], other: &[u8]) -> Condition {
        let sql = [one, b" ", &self.operator, b" ", other].concat();
        Condition { sql, operators: vec![self.operator_oid], values: Vec::new() }
    }

    /// The type of its operands.
    pub fn operand(&self) -> Oid {
        self.operand
    }

    /// An expression of the column's type as one side of it.
    pub fn side(&self, expression: &[u8]) -> Vec<u8> {
        [b"(".as_slice(), expression, b")::", &type_sql(self.operand)].concat()
    }
}

/// What a further condition adds to others.
pub fn and(condition: Option<&Condition>) -> Vec<u8> {
    condition.map_or_else(Vec::new, |condition| [b" AND ".as_slice(), &condition.sql].concat())
}

fn is_polymorphic(type_oid: Oid) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::get_typtype(type_oid) as u8 == pg_sys::TYPTYPE_PSEUDO }
}

/// The schema of an operator, as SQL writes it.
fn schema_of_operator(operator: Oid) -> Vec<u8> {
    // SAFETY: a syscache look-up; the row is released once its schema is copied. The name is palloc'd.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::OPEROID as i32,
            pg_sys::Datum::from(operator),
        );
        if tuple.is_null() {
            return b"pg_catalog".to_vec();
        }
        let form = &*(pg_sys::GETSTRUCT(tuple) as *const pg_sys::FormData_pg_operator);
        let schema = pg_sys::get_namespace_name(form.oprnamespace);
        pg_sys::ReleaseSysCache(tuple);
        if schema.is_null() {
            return b"pg_catalog".to_vec();
        }
        super::spi::identifier(CStr::from_ptr(schema))
    }
}

/// A type's name with its schema, as SQL writes it.
fn type_sql(type_oid: Oid) -> Vec<u8> {
    let flags = pg_sys::FORMAT_TYPE_FORCE_QUALIFY | pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN;
    // SAFETY: a syscache look-up inside a transaction; the name is palloc'd.
    unsafe { CStr::from_ptr(pg_sys::format_type_extended(type_oid, -1, flags as _)) }.to_bytes().to_vec()
}
