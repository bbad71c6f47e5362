//! A history of increments and reads of one counter, and whether the reads can be what a counter showed.
//!
//! After Jepsen's tests of counters and PN-counters: each operation is known by when it was asked for and when it was answered. A read
//! must have every increment that was acknowledged before the read began, may have those that were under way at any moment of it, and
//! must have nothing that was asked for after it ended. What was never answered, because the server died, may have counted or not, from
//! when it was asked for on. Increments below 0 bound a read the other way round.

/// Moments are nanoseconds of one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub begun: u64,
    /// `None`: nobody was told how it ended.
    pub ended: Option<u64>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Increment(i64),
    Read(i64),
}

/// A read that no order of the increments explains.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub read: Operation,
    pub least: i64,
    pub most: i64,
}

/// Sums of deltas by the moment that they count from, so that what lies before a moment is one look-up.
struct Sums {
    moments: Vec<u64>,
    upto: Vec<i64>,
}

impl Sums {
    fn new(deltas: impl Iterator<Item = (u64, i64)>) -> Sums {
        let mut deltas: Vec<(u64, i64)> = deltas.collect();
        deltas.sort_unstable();
        let upto = deltas.iter().scan(0, |sum, (_, delta)| {
            *sum += delta;
            Some(*sum)
        });
        Sums { upto: upto.collect(), moments: deltas.into_iter().map(|(moment, _)| moment).collect() }
    }

    /// What counts from before a moment.
    fn before(&self, moment: u64) -> i64 {
        match self.moments.partition_point(|other| *other < moment) {
            0 => 0,
            count => self.upto[count - 1],
        }
    }
}

/// Looks at every read of a history that begins with the counter at 0; how many there were.
pub fn check(history: &[Operation]) -> Result<usize, Wrong> {
    let increments = |which: fn(i64) -> bool| {
        history.iter().filter_map(move |operation| match operation.kind {
            Kind::Increment(delta) if which(delta) => Some((operation, delta)),
            _ => None,
        })
    };
    let begun = |which| Sums::new(increments(which).map(|(operation, delta)| (operation.begun, delta)));
    let ended =
        |which| Sums::new(increments(which).filter_map(|(operation, delta)| Some((operation.ended?, delta))));
    let (added, added_surely) = (begun(|delta| delta > 0), ended(|delta| delta > 0));
    let (taken, taken_surely) = (begun(|delta| delta < 0), ended(|delta| delta < 0));
    let mut reads = 0;
    for read in history {
        let (Kind::Read(value), Some(end)) = (read.kind, read.ended) else { continue };
        reads += 1;
        let least = added_surely.before(read.begun) + taken.before(end);
        let most = added.before(end) + taken_surely.before(read.begun);
        if !(least..=most).contains(&value) {
            return Err(Wrong { read: *read, least, most });
        }
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn increment(begun: u64, ended: u64, delta: i64) -> Operation {
        Operation { begun, ended: Some(ended), kind: Kind::Increment(delta) }
    }

    fn read(begun: u64, ended: u64, value: i64) -> Operation {
        Operation { begun, ended: Some(ended), kind: Kind::Read(value) }
    }

    #[test]
    fn what_was_acknowledged_before_must_be_there() {
        assert_eq!(check(&[increment(1, 2, 5), read(3, 4, 5)]), Ok(1));
        let missed = check(&[increment(1, 2, 5), read(3, 4, 0)]);
        assert_eq!(missed, Err(Wrong { read: read(3, 4, 0), least: 5, most: 5 }));
    }

    #[test]
    fn what_is_under_way_may_be_there() {
        for value in [0, 5] {
            assert_eq!(check(&[increment(1, 10, 5), read(3, 4, value)]), Ok(1));
        }
        assert!(check(&[increment(1, 10, 5), read(3, 4, 10)]).is_err(), "nothing counts twice");
    }

    #[test]
    fn what_comes_later_must_not_be_there() {
        assert!(check(&[read(1, 2, 5), increment(3, 4, 5)]).is_err());
    }

    #[test]
    fn what_nobody_was_told_of_may_be_there_from_then_on() {
        let lost = Operation { begun: 1, ended: None, kind: Kind::Increment(5) };
        for value in [0, 5] {
            assert_eq!(check(&[lost, read(90, 91, value)]), Ok(1));
        }
    }

    #[test]
    fn increments_below_zero_bound_a_read_the_other_way_round() {
        let history = |value| [increment(1, 2, 9), increment(3, 9, -4), read(5, 6, value)];
        assert_eq!((check(&history(9)), check(&history(5))), (Ok(1), Ok(1)));
        assert!(check(&history(4)).is_err() && check(&history(10)).is_err());
    }

    #[test]
    fn a_read_without_an_answer_says_nothing() {
        assert_eq!(check(&[Operation { begun: 1, ended: None, kind: Kind::Read(7) }]), Ok(0));
    }
}
