//! What was polled, as one call of `counter_apply` for each partition.

use std::collections::BTreeMap;

/// An id's bytes at most.
const LONGEST_ID_BYTES: usize = 255;

/// Ids that begin with a byte up to this one are the extension's own.
const LAST_RESERVED_BYTE: u8 = 2;

/// A counter's id, and an amount.
type Count = (String, i64);

/// What a message counts: its key is the counter's id, its payload the amount, 1 where there is none. A message without a key, or one
/// that cannot be read, counts nothing: an error here would come again with the message, for ever.
fn count_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> Option<Count> {
    let id = std::str::from_utf8(key?).ok()?;
    let amount = match payload {
        None | Some([]) => 1,
        Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    let is_id = id.bytes().next()? > LAST_RESERVED_BYTE && id.len() <= LONGEST_ID_BYTES && !id.contains('\0');
    is_id.then(|| (id.to_owned(), amount))
}

/// Messages by topic and partition, and there by offset: what a rebalance delivers a second time within one poll is there once.
#[derive(Default)]
pub struct Batch {
    partitions: BTreeMap<(String, i32), BTreeMap<i64, Option<Count>>>,
}

/// The arguments of one `counter_apply`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub topic: String,
    pub partition: i32,
    pub first: i64,
    pub upto: i64,
    pub ids: Vec<String>,
    pub deltas: Vec<i64>,
    pub offsets: Vec<i64>,
}

impl Call {
    /// One partition as one group of consumers counts it.
    pub fn source(&self, group: &str) -> String {
        format!("{group}:{}:{}", self.topic, self.partition)
    }

    /// The same offsets, of which no message counts anything.
    pub fn without_messages(&self) -> Call {
        Call { ids: Vec::new(), deltas: Vec::new(), offsets: Vec::new(), ..self.clone() }
    }

    /// Two calls with half of its messages each, of which the second goes on where the first ends. It has two messages or more.
    pub fn halves(&self) -> [Call; 2] {
        let middle = self.ids.len() / 2;
        let last = self.offsets[middle - 1];
        let part = |first, upto, from: usize, to: usize| Call {
            first,
            upto,
            ids: self.ids[from..to].to_vec(),
            deltas: self.deltas[from..to].to_vec(),
            offsets: self.offsets[from..to].to_vec(),
            ..self.without_messages()
        };
        [part(self.first, last, 0, middle), part(last + 1, self.upto, middle, self.ids.len())]
    }
}

impl Batch {
    pub fn add(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) {
        let messages = self.partitions.entry((topic.to_owned(), partition)).or_default();
        messages.insert(offset, count_of(key, payload));
    }

    /// In one order, by topic and partition: two consumers that have the same partitions for a moment do not deadlock. First and last are
    /// the offsets that were polled, also where those messages count nothing, so that each batch goes on where the last one ended.
    pub fn into_calls(self) -> Vec<Call> {
        let calls = self.partitions.into_iter().filter_map(|((topic, partition), messages)| {
            let (first, upto) = (*messages.first_key_value()?.0, *messages.last_key_value()?.0);
            let mut call = Call {
                topic,
                partition,
                first,
                upto,
                ids: Vec::new(),
                deltas: Vec::new(),
                offsets: Vec::new(),
            };
            for (offset, count) in messages {
                if let Some((id, amount)) = count {
                    call.ids.push(id);
                    call.deltas.push(amount);
                    call.offsets.push(offset);
                }
            }
            Some(call)
        });
        calls.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_counts_nothing() {
        assert_eq!(count_of(Some(b"video:1"), Some(b"-5")), Some(("video:1".to_owned(), -5)));
        assert_eq!(count_of(Some(b"video:1"), None), Some(("video:1".to_owned(), 1)));
        assert_eq!(count_of(Some(b"video:1"), Some(b"")), Some(("video:1".to_owned(), 1)));
        let long = [b'x'; LONGEST_ID_BYTES + 1];
        assert!(count_of(Some(&long[1..]), None).is_some());
        for key in [None, Some(&b""[..]), Some(b"\xff"), Some(b"a\0"), Some(b"\x02a"), Some(&long)] {
            assert_eq!(count_of(key, None), None, "{key:?}");
        }
        for payload in [&b"one"[..], b"1.5", b"9223372036854775808", b"\xff"] {
            assert_eq!(count_of(Some(b"video:1"), Some(payload)), None, "{payload:?}");
        }
    }

    #[test]
    fn a_call_covers_all_that_was_polled_of_a_partition() {
        let mut batch = Batch::default();
        batch.add("views", 1, 9, Some(b"a"), None);
        for offset in [12, 13, 11, 12, 14] {
            batch.add("views", 0, offset, (offset == 12 || offset == 13).then_some(&b"a"[..]), Some(b"2"));
        }
        let call = |partition, first, upto, offsets: &[i64], amount| Call {
            topic: "views".to_owned(),
            partition,
            first,
            upto,
            ids: vec!["a".to_owned(); offsets.len()],
            deltas: vec![amount; offsets.len()],
            offsets: offsets.to_vec(),
        };
        let calls = batch.into_calls();
        assert_eq!(calls, [call(0, 11, 14, &[12, 13], 2), call(1, 9, 9, &[9], 1)]);
        assert_eq!(calls[0].halves(), [call(0, 11, 12, &[12], 2), call(0, 13, 14, &[13], 2)]);
        assert_eq!(calls[0].source("counting"), "counting:views:0");
    }
}
