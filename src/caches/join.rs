//! Two sequences in the order of their ids, side by side.

use std::cmp::Ordering;

/// Shows each id with what either sequence has for it; stops at the first error.
pub fn full_outer<A, B, E>(
    mut next_left: impl FnMut() -> Result<Option<(Vec<u8>, A)>, E>,
    mut next_right: impl FnMut() -> Result<Option<(Vec<u8>, B)>, E>,
    mut see: impl FnMut(Vec<u8>, Option<A>, Option<B>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut left, mut right) = (next_left()?, next_right()?);
    loop {
        let order = match (&left, &right) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(()),
        };
        let taken_left = if order.is_le() { left.take() } else { None };
        let taken_right = if order.is_ge() { right.take() } else { None };
        if taken_left.is_some() {
            left = next_left()?;
        }
        if taken_right.is_some() {
            right = next_right()?;
        }
        match (taken_left, taken_right) {
            (Some((id, a)), b) => see(id, Some(a), b.map(|(_, b)| b))?,
            (None, Some((id, b))) => see(id, None, Some(b))?,
            (None, None) => {}
        }
    }
}

/// Two sequences without gaps as one that has each id once, with the sum.
pub fn sum<E>(
    mut left: impl FnMut() -> Result<Option<(Vec<u8>, i128)>, E>,
    right: Vec<(Box<[u8]>, i64)>,
) -> impl FnMut() -> Result<Option<(Vec<u8>, i128)>, E> {
    let mut right = right.into_iter().peekable();
    let mut held: Option<(Vec<u8>, i128)> = None;
    move || {
        if held.is_none() {
            held = left()?;
        }
        let order = match (&held, right.peek()) {
            (Some((a, _)), Some((b, _))) => a.as_slice().cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(None),
        };
        let own = if order.is_ge() { right.next() } else { None };
        let taken = if order.is_le() { held.take() } else { None };
        Ok(match (taken, own) {
            (Some((id, value)), own) => Some((id, value + i128::from(own.map_or(0, |(_, net)| net)))),
            (None, own) => own.map(|(id, net)| (id.into_vec(), i128::from(net))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    fn sequence<T: Copy>(
        of: &BTreeMap<Vec<u8>, T>,
    ) -> impl FnMut() -> Result<Option<(Vec<u8>, T)>, Infallible> {
        let mut items = of.clone().into_iter();
        move || Ok(items.next())
    }

    fn ids() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..3u8, 0..3)
    }

    proptest! {
        #[test]
        fn every_id_once_in_order(
            left in proptest::collection::btree_map(ids(), any::<i8>(), 0..12),
            right in proptest::collection::btree_map(ids(), any::<i8>(), 0..12),
        ) {
            let mut seen = Vec::new();
            full_outer(sequence(&left), sequence(&right), |id, a, b| {
                seen.push((id, a, b));
                Ok(())
            }).unwrap();
            let ids: BTreeSet<_> = left.keys().chain(right.keys()).cloned().collect();
            let expected: Vec<_> =
                ids.into_iter().map(|id| (id.clone(), left.get(&id).copied(), right.get(&id).copied())).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn sums_of_both(
            left in proptest::collection::btree_map(ids(), any::<i64>().prop_map(i128::from), 0..12),
            right in proptest::collection::btree_map(ids(), any::<i64>(), 0..12),
        ) {
            let mut expected = left.clone();
            for (id, net) in &right {
                *expected.entry(id.clone()).or_default() += i128::from(*net);
            }
            let right = right.into_iter().map(|(id, net)| (id.into_boxed_slice(), net)).collect();
            let mut next = sum(sequence(&left), right);
            let mut found = Vec::new();
            while let Some(pair) = next().unwrap() {
                found.push(pair);
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
