//! SQL of our own, run with the caller's rights: for what is rare and large, never on the way of an increment.
//!
//! Names in it are qualified, operators too: the caller's search_path decides nothing.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::args::varlena_bytes;
use crate::errors::CounterError;

/// A connection to the server's own SQL. One at a time, dropped in stack order.
pub struct Spi(());

impl Spi {
    pub fn connect() -> Result<Spi, CounterError> {
        // SAFETY: called inside a transaction; finished in `drop`, or by the transaction's abort.
        match unsafe { pg_sys::SPI_connect() } {
            code if code == pg_sys::SPI_OK_CONNECT as i32 => Ok(Spi(())),
            code => Err(failed("SPI_connect", code)),
        }
    }

    /// Runs a command that returns nothing.
    pub fn run(&self, sql: &[u8]) -> Result<(), CounterError> {
        self.execute(sql, false)
    }

    /// The rows of a query under the active snapshot, as text.
    pub fn rows(&self, sql: &[u8]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
        self.execute(sql, true)?;
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
                    (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes().to_vec())
                };
                (1..=columns).map(text).collect()
            };
            Ok((0..pg_sys::SPI_processed as usize).map(row).collect())
        }
    }

    fn execute(&self, sql: &[u8], read_only: bool) -> Result<(), CounterError> {
        let sql = c_string(sql)?;
        // SAFETY: connected while `self` lives; a failing command is an ERROR.
        match unsafe { pg_sys::SPI_execute(sql.as_ptr(), read_only, 0) } {
            code if code >= 0 => Ok(()),
            code => Err(failed("SPI_execute", code)),
        }
    }

    /// Opens a query of a text and a bigint column, neither NULL, under the active snapshot.
    pub fn pairs(&self, sql: &[u8]) -> Result<Pairs<'_>, CounterError> {
        let sql = c_string(sql)?;
        // SAFETY: connected while the cursor lives; an invalid query is an ERROR.
        let portal = unsafe {
            pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                sql.as_ptr(),
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null(),
                true,
                0,
            )
        };
        Ok(Pairs { portal, batch: Vec::new().into_iter(), is_done: false, _spi: self })
    }
}

impl Drop for Spi {
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
    batch: std::vec::IntoIter<(Vec<u8>, i64)>,
    is_done: bool,
    _spi: &'spi Spi,
}

impl Pairs<'_> {
    pub fn next_pair(&mut self) -> Option<(Vec<u8>, i64)> {
        const BATCH: i64 = 1000;
        if self.batch.as_slice().is_empty() && !self.is_done {
            // SAFETY: the portal is open while `self` lives; the query has these two columns, and each batch is freed once its
            // values are copied.
            unsafe {
                pg_sys::SPI_cursor_fetch(self.portal, true, BATCH as _);
                let table = pg_sys::SPI_tuptable;
                let count = pg_sys::SPI_processed as usize;
                let mut batch = Vec::with_capacity(count);
                for at in 0..count {
                    let row = *(*table).vals.add(at);
                    let mut is_null = false;
                    let text = pg_sys::SPI_getbinval(row, (*table).tupdesc, 1, &mut is_null);
                    let number = pg_sys::SPI_getbinval(row, (*table).tupdesc, 2, &mut is_null);
                    batch.push((varlena_bytes(text.cast_mut_ptr()).to_vec(), number.value() as i64));
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

fn c_string(sql: &[u8]) -> Result<CString, CounterError> {
    CString::new(sql).map_err(|_| failed("a query with a NUL", 0))
}

fn failed(what: &str, code: i32) -> CounterError {
    CounterError::Internal(format!("{what} failed: {code}"))
}

/// A name as SQL writes it.
pub fn identifier(name: &CStr) -> Vec<u8> {
    // SAFETY: a NUL-terminated string; the result is one too.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }.to_bytes().to_vec()
}

/// A text as SQL writes it.
pub fn literal(text: &CStr) -> Vec<u8> {
    // SAFETY: a NUL-terminated string; the result is a palloc'd one.
    unsafe { CStr::from_ptr(pg_sys::quote_literal_cstr(text.as_ptr())) }.to_bytes().to_vec()
}
