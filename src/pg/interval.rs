//! `interval` as a length of time.

use pgrx::pg_sys;

/// An `interval`: months and days are kept apart from time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub us: i64,
}

const US_PER_DAY: i128 = 86_400_000_000;
/// As PostgreSQL reckons where it needs a length: 365.25 days a year, and 30 a month that is left over.
const US_PER_MONTH: i128 = 30 * US_PER_DAY;
const US_PER_YEAR: i128 = 1461 * US_PER_DAY / 4;

impl Interval {
    /// # Safety
    /// `raw` must point to an `interval` datum.
    pub(super) unsafe fn read(raw: *const pg_sys::Interval) -> Interval {
        // SAFETY: by the caller's promise; on a page the datum is aligned as its type asks for.
        let raw = unsafe { &*raw };
        Interval { months: raw.month, days: raw.day, us: raw.time }
    }

    /// Its length in microseconds, as `extract(epoch FROM …)` has it. The infinite ones of PostgreSQL 17 come out as what
    /// no finite one is.
    pub fn length_us(self) -> i128 {
        let (years, months) = (self.months / 12, self.months % 12);
        i128::from(years) * US_PER_YEAR
            + i128::from(months) * US_PER_MONTH
            + i128::from(self.days) * US_PER_DAY
            + i128::from(self.us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_extract_epoch() {
        let length = |months, days, us| Interval { months, days, us }.length_us();
        assert_eq!(length(0, 0, 1), 1);
        assert_eq!(length(0, 1, -1), 86_399_999_999);
        assert_eq!(length(1, 0, 0), 2_592_000_000_000);
        assert_eq!(length(12, 0, 0), 31_557_600_000_000);
        assert_eq!(length(14, 0, 0), 31_557_600_000_000 + 2 * 2_592_000_000_000);
        assert_eq!(length(-14, 0, 0), -length(14, 0, 0));
        assert!(length(i32::MAX, i32::MAX, i64::MAX) > i128::from(i64::MAX));
        assert!(length(i32::MIN, i32::MIN, i64::MIN) < i128::from(i64::MIN));
    }
}
