//! A setting that is a time zone, taken and refused as PostgreSQL's own `TimeZone` is, and the days of that zone.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::zone;

const UTC: &CStr = c"UTC";
const US_PER_S: i64 = 1_000_000;
const S_PER_DAY: i64 = 86_400;
/// From 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH_DAYS: i64 = pg_sys::POSTGRES_EPOCH_JDATE as i64 - pg_sys::UNIX_EPOCH_JDATE as i64;

static NAME: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(UTC));
/// The zone that is set; null for UTC. PostgreSQL keeps every zone that it has loaded as long as the process lives.
static ZONE: AtomicPtr<pg_sys::pg_tz> = AtomicPtr::new(std::ptr::null_mut());

session_local! {
    /// The zone and the second that were last asked for, and their day.
    static LAST: Cell<(*const pg_sys::pg_tz, i64, i32)> = const { Cell::new((std::ptr::null(), 0, 0)) };
}

unsafe extern "C-unwind" {
    /// PostgreSQL's own for `TimeZone`: leaves the address of a zone in `extra`.
    fn check_timezone(
        value: *mut *mut c_char,
        extra: *mut *mut c_void,
        source: pg_sys::GucSource::Type,
    ) -> bool;
}

/// Defines it; UTC by default. There can be one such setting. Superusers set it, also for a role or database.
pub fn define(name: &'static CStr, short: &'static CStr, long: &'static CStr) {
    // SAFETY: the hooks are guarded, have PostgreSQL's signatures and live as long as the process.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            &NAME,
            GucContext::Suset,
            GucFlags::default(),
            Some(check),
            Some(assign),
            None,
        );
    }
}

/// Before a value is set.
///
/// # Safety
/// Called by PostgreSQL as a string setting's check hook.
#[pg_guard]
unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: what PostgreSQL has passed goes on as it is. The value is never null, since the default is not.
    unsafe { check_timezone(value, extra, source) }
}

/// A value is set.
///
/// # Safety
/// Called by PostgreSQL as the same setting's assign hook: `extra` is what `check` has left there.
#[pg_guard]
unsafe extern "C-unwind" fn assign(value: *const c_char, extra: *mut c_void) {
    // SAFETY: the value is NUL-terminated; `check_timezone` has made `extra` the address of a pointer to a zone.
    let zone = unsafe {
        if value.is_null() || extra.is_null() || CStr::from_ptr(value) == UTC {
            std::ptr::null_mut()
        } else {
            *extra.cast::<*mut pg_sys::pg_tz>()
        }
    };
    ZONE.store(zone, Ordering::Relaxed);
}

/// The zone, as it was set.
pub fn name() -> String {
    NAME.get().unwrap_or_else(|| UTC.into()).to_string_lossy().into_owned()
}

/// The name that the zone can be found by: the setting may be '+2', or an interval, which are no names.
pub fn found_by() -> Vec<u8> {
    let zone = ZONE.load(Ordering::Relaxed);
    if zone.is_null() {
        // BOUND: three bytes.
        return UTC.to_bytes().to_vec();
    }
    // SAFETY: the zone is one of PostgreSQL's, which it keeps.
    unsafe { zone::name_of(zone) }
}

/// The day in that zone of an instant, as days since 2000-01-01; `at_us` is microseconds since then, in UTC.
pub fn day_of(at_us: i64) -> i32 {
    let second = at_us.div_euclid(US_PER_S);
    let zone: *const pg_sys::pg_tz = ZONE.load(Ordering::Relaxed);
    if zone.is_null() {
        return second.div_euclid(S_PER_DAY) as i32;
    }
    let (last_zone, last_second, last_day) = LAST.get();
    if (last_zone, last_second) == (zone, second) {
        return last_day;
    }
    let day = day_in(zone, second);
    LAST.set((zone, second, day));
    day
}

fn day_in(zone: *const pg_sys::pg_tz, second: i64) -> i32 {
    let unix_second: pg_sys::pg_time_t = second + EPOCH_DAYS * S_PER_DAY;
    // SAFETY: the zone is one of PostgreSQL's, which it keeps; the result is a static of its, or null where there is no such time.
    let local = unsafe { pg_sys::pg_localtime(&unix_second, zone).as_ref() };
    match local {
        // SAFETY: plain arithmetic.
        Some(local) => unsafe {
            pg_sys::date2j(local.tm_year + 1900, local.tm_mon + 1, local.tm_mday)
                - pg_sys::POSTGRES_EPOCH_JDATE as i32
        },
        None => second.div_euclid(S_PER_DAY) as i32,
    }
}
