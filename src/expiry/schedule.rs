//! When the worker looks at the counters of a prefix again. Plain Rust.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// A counter is dropped so much of its idle time too late, at most, unless that is less than the shortest time or more than the longest.
const SHARE: u32 = 64;
/// A look is followed by at least so many times its own duration of rest.
const REST_PER_LOOK: u32 = 4;

/// How long to rest after a look that took `look` and left counters of which the oldest comes of age after `until_next`; `None` if it left none.
pub fn rest(idle: Duration, look: Duration, until_next: Option<Duration>) -> Duration {
    let soonest = (idle / SHARE).clamp(SHORTEST, LONGEST);
    let next = until_next.unwrap_or(idle).min(LONGEST);
    soonest.max(next).max(look.saturating_mul(REST_PER_LOOK))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_look_comes_when_the_oldest_is_of_age() {
        assert_eq!(rest(s(60), s(0), Some(s(20))), s(20));
        assert_eq!(rest(s(60), s(0), None), s(60), "a counter made now cannot be of age before");
    }

    #[test]
    fn looks_are_neither_too_many_nor_too_few() {
        assert_eq!(rest(s(60), s(0), Some(s(0))), s(1));
        assert_eq!(rest(s(640), s(0), Some(s(1))), s(10));
        assert_eq!(rest(s(640_000_000), s(0), Some(s(1))), s(3600));
        assert_eq!(rest(s(640_000_000), s(0), None), s(3600));
        assert_eq!(rest(s(60), s(30), Some(s(1))), s(120));
        assert_eq!(rest(Duration::MAX, Duration::MAX, Some(Duration::MAX)), Duration::MAX);
    }
}
