//! SQL of our own, all of it: for what is rare and large, never on the way of an increment.
//!
//! It runs confined (`super::confined`), so the caller's search_path decides nothing. Names in it are qualified all the same,
//! operators too, which tests/house sees to.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;

use pgrx::pg_sys;

use super::Oid;
use super::args::varlena_bytes;
use super::confined::Confined;
use super::table_query::TableQuery;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;

const WHAT: &str = "rows of a query";

/// A connection to the server's own SQL. One at a time, dropped in stack order.
pub struct Spi<'c>(PhantomData<&'c ()>);

/// A value for `$1` and so on.
#[derive(Clone, Copy, Debug)]
pub enum Parameter<'a> {
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// Also a timestamptz: microseconds since 2000-01-01.
    Bigint(i64),
    Int(i32),
    /// Days since 2000-01-01.
    Date(i32),
    /// Values of a type, as the array's text: read by input functions alone. A cast from text could be a function of the type's owner.
    Array {
        element: Oid,
        text: &'a [u8],
    },
    /// A value of a type, as its text, which is read by the type's input function.
    Value {
        type_oid: Oid,
        text: &'a [u8],
    },
}

impl Parameter<'_> {
    fn type_oid(self) -> Oid {
        match self {
            Parameter::Bytes(_) => pg_sys::BYTEAOID,
            Parameter::Bigint(_) => pg_sys::INT8OID,
            Parameter::Int(_) => pg_sys::INT4OID,
            Parameter::Text(_) => pg_sys::TEXTOID,
            Parameter::Date(_) => pg_sys::DATEOID,
            // SAFETY: a syscache look-up inside a transaction.
            Parameter::Array { element, .. } => unsafe { pg_sys::get_array_type(element) },
            Parameter::Value { type_oid, .. } => type_oid,
        }
    }

    fn datum(self) -> pg_sys::Datum {
        match self {
            // SAFETY: copies the bytes into the current memory context, which is SPI's and goes with the connection.
            Parameter::Text(bytes) | Parameter::Bytes(bytes) => pg_sys::Datum::from(unsafe {
                pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32)
            }),
            Parameter::Bigint(value) => pg_sys::Datum::from(value),
            Parameter::Int(value) | Parameter::Date(value) => pg_sys::Datum::from(value),
            Parameter::Array { text, .. } | Parameter::Value { text, .. } => {
                let (mut input, mut element) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
                // SAFETY: syscache look-ups, and a copy of the text with a NUL behind it; what the input function makes is in the
                // current memory context too. A text that is none of the type's is an ERROR.
                unsafe {
                    pg_sys::getTypeInputInfo(self.type_oid(), &mut input, &mut element);
                    let text = pg_sys::pnstrdup(text.as_ptr().cast(), text.len() as pg_sys::Size);
                    pg_sys::OidInputFunctionCall(input, text, element, -1)
                }
            }
        }
    }
}

/// A prepared statement that returns nothing; gone with its connection.
pub struct Prepared<'spi> {
    plan: pg_sys::SPIPlanPtr,
    parameters: usize,
    _spi: PhantomData<&'spi ()>,
}

impl<'c> Spi<'c> {
    pub fn connect(_confined: &'c Confined<'_>) -> Result<Spi<'c>, CounterError> {
        // SAFETY: called inside a transaction; finished in `drop`, or by the transaction's abort.
        match unsafe { pg_sys::SPI_connect() } {
            code if code == pg_sys::SPI_OK_CONNECT as i32 => Ok(Spi(PhantomData)),
            code => Err(failed("SPI_connect", code)),
        }
    }

    /// Runs a command that returns nothing.
    pub fn run(&self, sql: &[u8]) -> Result<(), CounterError> {
        self.execute(&c_string(sql)?, &[], false)
    }

    /// The same with parameters.
    pub fn run_with(&self, sql: &[u8], parameters: &[Parameter<'_>]) -> Result<(), CounterError> {
        self.execute(&c_string(sql)?, parameters, false)
    }

    /// As `run_with`, at any isolation level under a snapshot of everything committed by now: for rows that the caller has kept others from
    /// changing.
    pub fn run_latest(&self, sql: &[u8], parameters: &[Parameter<'_>]) -> Result<(), CounterError> {
        // BOUND: as many parameters as a statement of ours has.
        let types: Vec<u32> = parameters.iter().map(|parameter| u32::from(parameter.type_oid())).collect();
        // BOUND: the same.
        let mut values: Vec<_> = parameters.iter().map(|parameter| parameter.datum()).collect();
        let statement = self.prepare(sql, &types)?;
        // SAFETY: as many values as the plan has parameters, none NULL; PostgreSQL copies the snapshot before it runs anything. A failing
        // command is an ERROR.
        match unsafe {
            pg_sys::SPI_execute_snapshot(
                statement.plan,
                values.as_mut_ptr(),
                std::ptr::null(),
                pg_sys::GetLatestSnapshot(),
                std::ptr::null_mut(),
                false,
                true,
                0,
            )
        } {
            code if code >= 0 => Ok(()),
            code => Err(failed("SPI_execute_snapshot", code)),
        }
    }

    /// Prepares a command that returns nothing, with parameters of these types.
    pub fn prepare(&self, sql: &[u8], types: &[u32]) -> Result<Prepared<'_>, CounterError> {
        let sql = c_string(sql)?;
        // BOUND: as many parameters as a statement of ours has.
        let mut oids: Vec<Oid> = types.iter().map(|oid| Oid::from(*oid)).collect();
        // SAFETY: connected while `self` lives, and the plan with it; an invalid command is an ERROR.
        let plan = unsafe { pg_sys::SPI_prepare(sql.as_ptr(), oids.len() as i32, oids.as_mut_ptr()) };
        if plan.is_null() {
            return Err(failed("SPI_prepare", 0));
        }
        Ok(Prepared { plan, parameters: types.len(), _spi: PhantomData })
    }

    /// Runs it. The parameters are of the types that it was prepared for.
    pub fn run_prepared(
        &self,
        statement: &Prepared<'_>,
        parameters: &[Parameter<'_>],
    ) -> Result<(), CounterError> {
        if parameters.len() != statement.parameters {
            return Err(failed("a statement with too few parameters", 0));
        }
        // BOUND: as many parameters as a statement of ours has.
        let mut values: Vec<_> = parameters.iter().map(|parameter| parameter.datum()).collect();
        // SAFETY: as many values as the plan has parameters, none NULL; a failing command is an ERROR.
        match unsafe {
            pg_sys::SPI_execute_plan(statement.plan, values.as_mut_ptr(), std::ptr::null(), false, 0)
        } {
            code if code >= 0 => Ok(()),
            code => Err(failed("SPI_execute_plan", code)),
        }
    }

    /// The rows of a query under the active snapshot, as text.
    pub fn rows(&self, sql: &[u8]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        self.rows_with(sql, &[])
    }

    /// The rows of a query that changes something, as text.
    pub fn changing_rows(&self, sql: &[u8]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        self.execute(&c_string(sql)?, &[], false)?;
        self.returned()
    }

    /// The same with parameters.
    pub fn rows_with(
        &self,
        sql: &[u8],
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        self.execute(&c_string(sql)?, parameters, true)?;
        self.returned()
    }

    fn returned(&self) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        // SAFETY: after a query these describe its rows, which live until SPI_finish.
        unsafe {
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return Ok(Vec::new());
            }
            let columns = (*(*table).tupdesc).natts;
            let row = |at: usize| {
                let text = |column: i32| {
                    let value = pg_sys::SPI_getvalue(*(*table).vals.add(at), (*table).tupdesc, column);
                    (!value.is_null())
                        .then(|| fallible::copy(CStr::from_ptr(value).to_bytes(), WHAT).or_raise())
                };
                fallible::collect((1..=columns).map(text), WHAT).or_raise()
            };
            Ok(fallible::collect((0..pg_sys::SPI_processed as usize).map(row), WHAT)?)
        }
    }

    fn execute(&self, sql: &CStr, parameters: &[Parameter<'_>], read_only: bool) -> Result<(), CounterError> {
        // BOUND: as many parameters as a statement of ours has.
        let mut types: Vec<Oid> = parameters.iter().map(|parameter| parameter.type_oid()).collect();
        let mut values: Vec<_> = parameters.iter().map(|parameter| parameter.datum()).collect();
        // SAFETY: connected while `self` lives; as many types as values, none of them NULL; a failing command is an ERROR.
        match unsafe {
            pg_sys::SPI_execute_with_args(
                sql.as_ptr(),
                parameters.len() as i32,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                read_only,
                0,
            )
        } {
            code if code >= 0 => Ok(()),
            code => Err(failed("SPI_execute_with_args", code)),
        }
    }

    /// The rows of a query of users' tables under the active snapshot, as text. Errors: 40001 their names stand for something else.
    pub fn rows_of(
        &self,
        query: &TableQuery,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        let sql = c_string(query.sql())?;
        query.analyzed(&sql, || self.execute(&sql, parameters, true))??;
        self.returned()
    }

    /// Opens a query of a text column, and one of bigint or of a whole number's text, neither NULL, under the active snapshot. Errors: 40001.
    pub fn pairs(&self, query: &TableQuery) -> Result<Pairs<'_>, CounterError> {
        let sql = c_string(query.sql())?;
        let parameters = query
            .values()
            .iter()
            .map(|value| Parameter::Value { type_oid: value.type_oid, text: &value.text });
        // BOUND: as many parameters as a key has columns.
        let (mut types, mut values): (Vec<Oid>, Vec<pg_sys::Datum>) =
            parameters.map(|parameter| (parameter.type_oid(), parameter.datum())).unzip();
        // SAFETY: connected while the cursor lives; as many types as values, none of them NULL, which PostgreSQL copies; an invalid query is an ERROR.
        let portal = query.analyzed(&sql, || unsafe {
            pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                sql.as_ptr(),
                types.len() as i32,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                0,
            )
        })?;
        Ok(Pairs { portal, batch: Vec::new().into_iter(), is_done: false, _spi: PhantomData })
    }
}

impl Drop for Spi<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: connected in `connect`, finished once.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// Rows of a cursor, read in batches.
pub struct Pairs<'spi> {
    portal: pg_sys::Portal,
    batch: std::vec::IntoIter<(Vec<u8>, i128)>,
    is_done: bool,
    _spi: PhantomData<&'spi ()>,
}

impl Pairs<'_> {
    pub fn next_pair(&mut self) -> Option<(Vec<u8>, i128)> {
        const BATCH: i64 = 1000;
        if self.batch.as_slice().is_empty() && !self.is_done {
            // SAFETY: the portal is open while `self` lives; the query has these two columns, and each batch is freed once its
            // values are copied.
            unsafe {
                pg_sys::SPI_cursor_fetch(self.portal, true, BATCH as _);
                let table = pg_sys::SPI_tuptable;
                let count = pg_sys::SPI_processed as usize;
                let mut batch = fallible::with_room(count, WHAT).or_raise();
                let is_bigint = count > 0 && pg_sys::SPI_gettypeid((*table).tupdesc, 2) == pg_sys::INT8OID;
                for at in 0..count {
                    let row = *(*table).vals.add(at);
                    let mut is_null = false;
                    let text = pg_sys::SPI_getbinval(row, (*table).tupdesc, 1, &mut is_null);
                    let number = pg_sys::SPI_getbinval(row, (*table).tupdesc, 2, &mut is_null);
                    let text = fallible::copy(varlena_bytes(text.cast_mut_ptr()), WHAT).or_raise();
                    let number = if is_bigint {
                        i128::from(number.value() as i64)
                    } else {
                        whole_number(varlena_bytes(number.cast_mut_ptr())).or_raise()
                    };
                    // BOUND: there is room for `count`.
                    batch.push((text, number));
                }
                pg_sys::SPI_freetuptable(table);
                self.is_done = count == 0;
                self.batch = batch.into_iter();
            }
        }
        self.batch.next()
    }
}

impl Drop for Pairs<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened in `pairs`, closed once.
            unsafe { pg_sys::SPI_cursor_close(self.portal) }
        }
    }
}

/// Texts as PostgreSQL reads an array of them.
pub fn text_array<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, CounterError> {
    let mut array = Vec::new();
    for text in texts {
        let start: &[u8] = if array.is_empty() { b"{\"" } else { b",\"" };
        fallible::append(&mut array, start, WHAT)?;
        for part in text.split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
            match part.split_last() {
                Some((special @ (b'"' | b'\\'), before)) => {
                    fallible::append(&mut array, before, WHAT)?;
                    fallible::append(&mut array, &[b'\\', *special], WHAT)?;
                }
                _ => fallible::append(&mut array, part, WHAT)?,
            }
        }
        fallible::append(&mut array, b"\"", WHAT)?;
    }
    if array.is_empty() {
        fallible::append(&mut array, b"{", WHAT)?;
    }
    fallible::append(&mut array, b"}", WHAT)?;
    Ok(array)
}

/// A whole number, as PostgreSQL writes it.
pub fn whole_number(text: &[u8]) -> Result<i128, CounterError> {
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| failed("reading a whole number", 0))
}

fn c_string(sql: &[u8]) -> Result<CString, CounterError> {
    CString::new(sql).map_err(|_| failed("a query with a NUL", 0))
}

fn failed(what: &str, code: i32) -> CounterError {
    CounterError::Internal(format!("{what} failed: {code}"))
}

/// A name as SQL writes it.
pub fn identifier(name: &CStr) -> Vec<u8> {
    // SAFETY: a NUL-terminated string; the result is one too.
    // BOUND: a name, or an argument of a trigger.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }.to_bytes().to_vec()
}

/// A text as SQL writes it.
pub fn literal(text: &CStr) -> Vec<u8> {
    // SAFETY: a NUL-terminated string; the result is a palloc'd one.
    // BOUND: a name, or an argument of a trigger.
    unsafe { CStr::from_ptr(pg_sys::quote_literal_cstr(text.as_ptr())) }.to_bytes().to_vec()
}
