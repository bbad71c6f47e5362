//! Whose days the days of visitors are.

use crate::pg::time_zone;

pub fn define(_preloading: bool) {
    time_zone::define(
        c"counter_ext.time_zone",
        c"The time zone by which visits have their day.",
        c"A change holds for what comes: visits that were noted before keep their day.",
    );
}
