//! Time zones, as PostgreSQL knows them.

use std::ffi::CString;

use pgrx::pg_sys;

use super::interval::Interval;

/// When the unit of time began that an instant is in, in a time zone, as `date_trunc(unit, at, zone)`; instants in microseconds since
/// 2000-01-01. An infinite one is itself. Raises 22023 where there is no such zone or unit.
pub fn begin_of(unit: &str, at_us: i64, zone: &[u8]) -> i64 {
    // SAFETY: the function takes two texts and a timestamptz, none NULL; the texts are copies in the current memory context.
    unsafe {
        let text = |bytes: &[u8]| {
            pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32))
        };
        let arguments = [Some(text(unit.as_bytes())), Some(pg_sys::Datum::from(at_us)), Some(text(zone))];
        let began = pgrx::direct_function_call_as_datum(pg_sys::timestamptz_trunc_zone, &arguments);
        began.map_or(at_us, |began| began.value() as i64)
    }
}

/// Whether every session knows a zone of this name, whatever abbreviations it has set.
pub fn is_known(zone: &[u8]) -> bool {
    let Ok(zone) = CString::new(zone) else { return false };
    // SAFETY: looks up a NUL-terminated name; null where there is none.
    zone.as_bytes().len() < pg_sys::TZ_STRLEN_MAX as usize
        && unsafe { !pg_sys::pg_tzset(zone.as_ptr()).is_null() }
}

/// The session's time zone.
pub fn of_session() -> Vec<u8> {
    // SAFETY: the setting is there, and its value is a NUL-terminated string that stays while it is copied.
    // BOUND: a setting's value, which its check has limited to the name of a zone.
    unsafe {
        let value = pg_sys::GetConfigOption(c"TimeZone".as_ptr(), false, false);
        std::ffi::CStr::from_ptr(value).to_bytes().to_vec()
    }
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
