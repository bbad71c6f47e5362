//! Whether a snapshot saw a top-level transaction's commit. Plain arithmetic on transaction ids, as in
//! PostgreSQL's XidInMVCCSnapshot.

/// `a` was given out before `b`, modulo 2³².
pub fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether a committed top-level transaction's changes are seen by a snapshot.
pub fn is_seen(xid: u32, xmin: u32, xmax: u32, running: &[u32]) -> bool {
    is_seen_unless(xid, xmin, xmax, || running.contains(&xid))
}

/// As `is_seen`; asks whether it was running only where that decides.
pub fn is_seen_unless(xid: u32, xmin: u32, xmax: u32, was_running: impl FnOnce() -> bool) -> bool {
    precedes(xid, xmin) || (precedes(xid, xmax) && !was_running())
}

/// Whether the sum of rows that a load takes includes a committed delta, which must then not be added to memory as well. A
/// load that has no snapshot yet will take one after this commit became visible, and so include it.
pub fn is_in_sum(has_snapshot: bool, sees: impl FnOnce() -> bool) -> bool {
    !has_snapshot || sees()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn before_xmin_is_seen_from_xmax_on_is_not() {
        assert!(is_seen(9, 10, 20, &[10, 15]));
        assert!(!is_seen(20, 10, 20, &[10, 15]));
        assert!(!is_seen(15, 10, 20, &[10, 15]));
        assert!(is_seen(16, 10, 20, &[10, 15]));
    }

    proptest! {
        #[test]
        fn shifting_all_ids_around_the_circle_changes_nothing(
            xid in 0u32..1000, span in 1u32..500, start in 0u32..500,
            running in proptest::collection::vec(0u32..1000, 0..20),
            shift: u32,
        ) {
            let move_by = |x: u32| x.wrapping_add(shift);
            let plain = is_seen(xid, start, start + span, &running);
            let moved: Vec<u32> = running.iter().map(|x| move_by(*x)).collect();
            prop_assert_eq!(
                plain,
                is_seen(move_by(xid), move_by(start), move_by(start + span), &moved)
            );
        }
    }
}
