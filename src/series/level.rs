//! Lengths of buckets, and which bucket and partition an instant belongs to. Plain Rust; instants are microseconds since 2000-01-01, UTC.
//!
//! Only minutes are reckoned here: all time zones of today begin one with UTC. Hours and days of a time zone are PostgreSQL's.

const US_PER_MINUTE: i64 = 60_000_000;
const US_PER_DAY: i64 = 1440 * US_PER_MINUTE;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Minute,
    Hour,
    Day,
}

/// From the shortest on.
pub const LEVELS: [Level; 3] = [Level::Minute, Level::Hour, Level::Day];

impl Level {
    pub fn named(name: &[u8]) -> Option<Level> {
        LEVELS.into_iter().find(|level| level.name().as_bytes() == name)
    }

    /// As users and PostgreSQL call it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Minute => "minute",
            Level::Hour => "hour",
            Level::Day => "day",
        }
    }

    pub fn minutes(self) -> i32 {
        match self {
            Level::Minute => 1,
            Level::Hour => 60,
            Level::Day => 1440,
        }
    }

    pub fn longer(self) -> impl Iterator<Item = Level> {
        LEVELS.into_iter().filter(move |level| *level > self)
    }

    fn days_a_partition(self) -> i64 {
        match self {
            Level::Minute => 1,
            Level::Hour => 30,
            Level::Day => 360,
        }
    }

    /// Whether an amount of then may go into a bucket of this length now. Anybody who may count says when something happened, and each time far
    /// from the others takes a partition, of which all sessions share the locks.
    fn reaches(self, at_us: i64, now_us: i64) -> bool {
        let days = match self {
            Level::Minute | Level::Hour => 4000,
            Level::Day => 36_000,
        };
        at_us >= now_us.saturating_sub(days * US_PER_DAY)
    }

    /// How long a partition is that is made for what is late.
    fn days_a_late_partition(self) -> i64 {
        self.days_a_partition().max(30)
    }

    /// The partition of a bucket which begins then, where it is booked at about that time.
    pub fn partition(self, at_us: i64) -> Partition {
        self.span_of(at_us, self.days_a_partition())
    }

    fn span_of(self, at_us: i64, days: i64) -> Partition {
        let from_us = floor(at_us, days * US_PER_DAY);
        Partition { level: self, from_us, to_us: from_us.saturating_add(days * US_PER_DAY) }
    }

    /// The partition to be made for a bucket which begins then, where none of those that there are has it. What is late gets one of up to a
    /// month, as wide as those beside it let it be: late events, of whatever times, make some hundreds of partitions, not thousands.
    pub fn new_partition(self, at_us: i64, now_us: i64, existing: &[Partition]) -> Partition {
        let usual = self.partition(at_us);
        // Today and yesterday have their own.
        let late_before_us = self.partition(now_us.saturating_sub(US_PER_DAY)).from_us;
        if usual.to_us > late_before_us {
            return usual;
        }
        let late = self.span_of(at_us, self.days_a_late_partition());
        let own = |of: &&Partition| of.level == self;
        let before_us = existing.iter().filter(own).map(|of| of.to_us).filter(|to_us| *to_us <= at_us).max();
        let behind_us =
            existing.iter().filter(own).map(|of| of.from_us).filter(|from_us| *from_us > at_us).min();
        let from_us = late.from_us.max(before_us.unwrap_or(i64::MIN));
        let to_us = late.to_us.min(behind_us.unwrap_or(i64::MAX)).min(late_before_us);
        Partition { level: self, from_us, to_us }
    }
}

/// The largest multiple that is not above the value, or the smallest that there is.
fn floor(value: i64, of: i64) -> i64 {
    value.div_euclid(of).saturating_mul(of)
}

/// When the minute of an instant began.
pub fn minute(at_us: i64) -> i64 {
    floor(at_us, US_PER_MINUTE)
}

/// A partition of one level's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    pub level: Level,
    pub from_us: i64,
    /// The first instant behind it.
    pub to_us: i64,
}

impl Partition {
    /// Its table: `bucket_minute_20261129`; `bucket_minute_20261101_28` where it has another length than usual, which is 28 days.
    pub fn name(self) -> String {
        let (year, month, day) = date(self.from_us.div_euclid(US_PER_DAY));
        let name = format!("bucket_{}_{year:04}{month:02}{day:02}", self.level.name());
        match (self.to_us.saturating_sub(self.from_us)) / US_PER_DAY {
            days if days == self.level.days_a_partition() => name,
            days => format!("{name}_{days}"),
        }
    }

    /// The partition that a name says, without the level that it begins with.
    pub fn named(level: Level, name: &str) -> Option<Partition> {
        let (date, days) = match name.split_once('_') {
            Some((date, days)) => (date, days.parse().ok().filter(|days| (1..100_000).contains(days))?),
            None => (name, level.days_a_partition()),
        };
        let from_us = instant(date)?;
        Some(Partition { level, from_us, to_us: from_us.checked_add(days * US_PER_DAY)? })
    }

    pub fn covers(self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us < self.to_us
    }
}

/// The date of the proleptic Gregorian calendar, of a day counted from 2000-01-01. After Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days.
fn date(day: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01: a year that begins in March has its leap day at its end.
    let day = day + 730_425;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_month)
}

/// The instant at which a date begins, as a partition's name has it.
fn instant(date: &str) -> Option<i64> {
    if date.len() < 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = date.split_at(date.len() - 4);
    let number = |text: &str| text.parse::<i64>().ok();
    let (year, month, day) = (number(year)?, number(&rest[..2])?, number(&rest[2..])?);
    day_of(year, month, day)?.checked_mul(US_PER_DAY)
}

/// The day of a date, from 2000-01-01; the inverse of `date`, after the same source.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era.checked_mul(146_097)?.checked_add(of_era - 730_425)
}

/// For how long buckets are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keep(pub i64);

impl Keep {
    pub const FOREVER: Keep = Keep(i64::MAX);

    /// Whether a bucket of then is kept now.
    pub fn covers(self, at_us: i64, now_us: i64) -> bool {
        self == Keep::FOREVER || at_us >= now_us.saturating_sub(self.0)
    }
}

/// For how long each level's buckets are kept; `None` where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps(pub [Option<Keep>; 3]);

impl Keeps {
    pub fn of(self, level: Level) -> Option<Keep> {
        self.0[level as usize]
    }

    /// The shortest buckets that an amount of then is kept in, and that reach back so far; `None` where it is kept no more.
    pub fn level_of(self, at_us: i64, now_us: i64) -> Option<Level> {
        LEVELS.into_iter().find(|level| {
            level.reaches(at_us, now_us) && self.of(*level).is_some_and(|keep| keep.covers(at_us, now_us))
        })
    }

    /// What buckets of a level are rolled up into.
    pub fn after(self, level: Level) -> Option<Level> {
        level.longer().find(|longer| self.of(*longer).is_some())
    }

    /// The longest that anything is kept.
    pub fn longest(self) -> Option<Keep> {
        self.0.into_iter().flatten().max()
    }

    /// Whether longer buckets are kept longer, and there are any.
    pub fn rise(self) -> bool {
        let mut before = None;
        self.0.into_iter().flatten().all(|keep| before.replace(keep).is_none_or(|before| before < keep))
            && self.longest().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 848_000_000_000_000;

    #[test]
    fn partitions_are_named_after_their_first_day() {
        for (day, expected) in [
            (0, (2000, 1, 1)),
            (59, (2000, 2, 29)),
            (60, (2000, 3, 1)),
            (-1, (1999, 12, 31)),
            (366, (2001, 1, 1)),
            (9829, (2026, 11, 29)),
            (-730_485, (0, 1, 1)),
        ] {
            assert_eq!(date(day), expected);
        }
        let partition = Level::Minute.partition(9829 * US_PER_DAY + 1);
        assert_eq!(partition.name(), "bucket_minute_20261129");
        assert_eq!(partition.to_us - partition.from_us, US_PER_DAY);
    }

    fn named(of: Partition) -> Option<Partition> {
        let name = of.name();
        Partition::named(of.level, name.strip_prefix(&format!("bucket_{}_", of.level.name()))?)
    }

    #[test]
    fn events_of_every_day_make_a_hundred_partitions() {
        let mut existing: Vec<Partition> =
            vec![Level::Minute.partition(NOW), Level::Minute.partition(NOW - 700 * US_PER_DAY)];
        for age in 0..4000 {
            let at_us = NOW - age * US_PER_DAY;
            if !existing.iter().any(|of| of.covers(at_us)) {
                existing.push(Level::Minute.new_partition(at_us, NOW, &existing));
            }
        }
        assert!(existing.len() <= 140, "{} partitions", existing.len());
        // What is booked today goes to today's.
        assert_eq!(Level::Minute.new_partition(NOW + 5, NOW, &[]), Level::Minute.partition(NOW));
    }

    #[test]
    fn what_is_late_does_not_reach_back_for_ever() {
        let forever = |levels: [bool; 3]| Keeps(levels.map(|is_kept| is_kept.then_some(Keep::FOREVER)));
        let all = forever([true; 3]);
        let at = |days: i64| all.level_of(NOW - days * US_PER_DAY, NOW);
        assert_eq!(at(4000), Some(Level::Minute));
        assert_eq!(at(4001), Some(Level::Day));
        assert_eq!(at(36_001), None);
        assert_eq!(forever([true, true, false]).level_of(NOW - 4001 * US_PER_DAY, NOW), None);
        assert_eq!(all.level_of(i64::MIN, NOW), None);
    }

    #[test]
    fn keeps_rise() {
        let keeps = |list: [i64; 3]| Keeps(list.map(|keep| (keep > 0).then_some(Keep(keep))));
        assert!(keeps([1, 2, 3]).rise() && keeps([1, 0, 2]).rise() && keeps([0, 0, 1]).rise());
        assert!(!keeps([2, 2, 3]).rise() && !keeps([0, 0, 0]).rise() && !keeps([3, 0, 2]).rise());
    }

    fn any_keeps() -> impl Strategy<Value = Keeps> {
        let keep =
            prop_oneof![Just(None), (1i64..1 << 55).prop_map(|us| Some(Keep(us))), Just(Some(Keep::FOREVER))];
        [keep.clone(), keep.clone(), keep].prop_map(Keeps)
    }

    proptest! {
        #[test]
        fn dates_go_on_day_by_day(day in -3_000_000i64..3_000_000) {
            let ((year, month, day_of_month), next) = (date(day), date(day + 1));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month { 2 if leap => 29, 2 => 28, 4 | 6 | 9 | 11 => 30, _ => 31 };
            let expected = match (month, day_of_month) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == days => (year, month + 1, 1),
                _ => (year, month, day_of_month + 1),
            };
            prop_assert_eq!(next, expected);
            prop_assert_eq!(day_of(year, month, day_of_month), Some(day));
        }

        #[test]
        fn a_name_says_which_partition_it_is(at_us in 0i64..1 << 60) {
            for level in LEVELS {
                let of = level.partition(at_us);
                prop_assert_eq!(named(of), Some(of));
            }
        }

        #[test]
        fn late_partitions_lie_side_by_side(
            ages_days in prop::collection::vec(-2i64..4000, 1..200), minutes in 0i64..1440,
        ) {
            for level in LEVELS {
                let mut existing: Vec<Partition> = Vec::new();
                for age in &ages_days {
                    let at_us = NOW - age * US_PER_DAY + minutes * US_PER_MINUTE;
                    if existing.iter().any(|of| of.covers(at_us)) {
                        continue;
                    }
                    let new = level.new_partition(at_us, NOW, &existing);
                    prop_assert!(new.covers(at_us));
                    prop_assert!(existing.iter().all(|of| of.to_us <= new.from_us || new.to_us <= of.from_us));
                    prop_assert_eq!((new.from_us % US_PER_DAY, new.to_us % US_PER_DAY), (0, 0));
                    prop_assert_eq!(named(new), Some(new));
                    prop_assert!(new.name().len() < 64);
                    existing.push(new);
                }
                prop_assert!(existing.len() <= 140, "{} partitions", existing.len());
            }
        }

        #[test]
        fn each_instant_is_in_its_minute_and_its_partition(at_us in i64::MIN / 2..i64::MAX / 2) {
            prop_assert!(minute(at_us) <= at_us && at_us - minute(at_us) < US_PER_MINUTE);
            for level in LEVELS {
                let partition = level.partition(at_us);
                prop_assert!(partition.from_us <= at_us && at_us < partition.to_us);
                prop_assert_eq!(level.partition(partition.to_us - 1), partition);
                prop_assert_eq!(level.partition(partition.to_us).from_us, partition.to_us);
            }
        }

        #[test]
        fn nothing_overflows(at_us: i64, now_us: i64, keeps in any_keeps()) {
            minute(at_us);
            for level in LEVELS {
                level.partition(at_us).name();
            }
            keeps.level_of(at_us, now_us);
        }

        /// An amount never is where it will not be looked for, and never goes back into shorter buckets as time goes on.
        #[test]
        fn amounts_go_into_longer_buckets_until_they_expire(
            keeps in any_keeps().prop_filter("rising", |keeps| keeps.rise()), age in 0i64..1 << 56, later in 0i64..1 << 55,
        ) {
            let (before, after) = (keeps.level_of(NOW, NOW + age), keeps.level_of(NOW, NOW + age + later));
            match (before, after) {
                (Some(before), Some(after)) => prop_assert!(before <= after),
                (None, after) => prop_assert_eq!(after, None),
                (Some(_), None) => {
                    let is_in_reach = LEVELS.into_iter().rev().find(|level| keeps.of(*level).is_some());
                    let is_in_reach = is_in_reach.is_some_and(|level| level.reaches(NOW, NOW + age + later));
                    prop_assert!(keeps.longest() != Some(Keep::FOREVER) || !is_in_reach);
                }
            }
        }
    }
}
