//! Time zones, as PostgreSQL knows them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::interval::Interval;

/// What instants are in where there is no such zone.
const UTC: &[u8] = b"UTC";

/// When the unit of time began that an instant is in, in a time zone, as `date_trunc(unit, at)` in a session of that zone; instants in
/// microseconds since 2000-01-01. An infinite one is itself. In UTC where there is no such zone: folds call this, and must not fail for it.
/// Raises 22023 where there is no such unit, 22008 where there are no instants from so long ago.
///
/// `date_trunc(unit, at, zone)` it is not: that takes CET for an abbreviation, which has no summer time and depends on the session.
pub fn begin_of(unit: &str, at_us: i64, zone: &[u8]) -> i64 {
    let zone = find(zone).or_else(|| find(UTC));
    // SAFETY: the function takes a text and a timestamptz, neither NULL; the text is a copy in the current memory context. The zone is one of
    // PostgreSQL's, which it keeps.
    unsafe {
        let unit = pg_sys::cstring_to_text_with_len(unit.as_ptr().cast(), unit.len() as i32);
        let arguments = [Some(pg_sys::Datum::from(unit)), Some(pg_sys::Datum::from(at_us))];
        let _before = zone.map(|zone| SessionZone::exchange(zone));
        let began = pgrx::direct_function_call_as_datum(pg_sys::timestamptz_trunc, &arguments);
        began.map_or(at_us, |began| began.value() as i64)
    }
}

/// Sets the zone of the session back to what it was, also where an error unwinds.
struct SessionZone(*mut pg_sys::pg_tz);

impl SessionZone {
    /// # Safety
    /// The zone is one of PostgreSQL's. The caller runs nothing that keeps it.
    unsafe fn exchange(zone: *mut pg_sys::pg_tz) -> SessionZone {
        // SAFETY: a plain variable of this process, which has one thread; the caller vouches for the zone.
        unsafe {
            let before = pg_sys::session_timezone;
            pg_sys::session_timezone = zone;
            SessionZone(before)
        }
    }
}

impl Drop for SessionZone {
    fn drop(&mut self) {
        // SAFETY: what was there before.
        unsafe { pg_sys::session_timezone = self.0 }
    }
}

/// The zone of a name, whatever abbreviations the session has set.
fn find(zone: &[u8]) -> Option<*mut pg_sys::pg_tz> {
    let zone = CString::new(zone).ok()?;
    if zone.as_bytes().len() >= pg_sys::TZ_STRLEN_MAX as usize {
        return None;
    }
    // SAFETY: looks up a NUL-terminated name; null where there is none.
    let found = unsafe { pg_sys::pg_tzset(zone.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Whether every session knows a zone of this name, whatever abbreviations it has set.
pub fn is_known(zone: &[u8]) -> bool {
    find(zone).is_some()
}

/// A zone that this server knows: the one of that name, or UTC.
pub fn known_or_utc(zone: &[u8]) -> &[u8] {
    if is_known(zone) { zone } else { UTC }
}

/// The session's time zone, by the name that it can be found by: a setting of '+2' is none, which is west of Greenwich as a name.
pub fn of_session() -> Vec<u8> {
    // SAFETY: there is one from when a process begins on.
    unsafe { name_of(pg_sys::session_timezone) }
}

/// A zone's name.
///
/// # Safety
/// The zone is one of PostgreSQL's.
pub(super) unsafe fn name_of(zone: *mut pg_sys::pg_tz) -> Vec<u8> {
    // SAFETY: the caller vouches for the zone; its name is NUL-terminated and stays with it.
    // BOUND: at most 255 bytes.
    unsafe { CStr::from_ptr(pg_sys::pg_get_timezone_name(zone)).to_bytes().to_vec() }
}

/// A text as an interval. Raises 22007 and 22008 as a cast does.
pub fn interval(text: &[u8]) -> Option<Interval> {
    let text = CString::new(text).ok()?;
    // SAFETY: the input function of interval: a C string, no type for elements, no modifier. Its result points to an interval.
    unsafe {
        let arguments = [
            Some(pg_sys::Datum::from(text.as_ptr())),
            Some(pg_sys::Datum::from(pg_sys::InvalidOid)),
            Some(pg_sys::Datum::from(-1i32)),
        ];
        let value = pgrx::direct_function_call_as_datum(pg_sys::interval_in, &arguments)?;
        Some(Interval::read(value.cast_mut_ptr()))
    }
}
