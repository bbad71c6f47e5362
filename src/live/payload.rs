//! What is sent: changed totals as JSON arrays, each no longer than NOTIFY takes. Plain Rust.
//!
//! Where the database's encoding is not UTF-8, they are in ASCII: it need not have all characters, nor have them in as few bytes.
//!
//! BOUND: totals of one batch, of an id of at most 255 bytes each.

use serde::Serialize;

/// NOTIFY takes less than 8000 bytes.
const MOST_BYTES: usize = 7999;

/// A counter as it is now; `value` is null where it is outside bigint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    pub id: String,
    pub value: Option<i64>,
}

/// The totals as JSON arrays, in their order.
pub fn payloads(totals: &[Total], is_ascii: bool) -> Result<Vec<String>, serde_json::Error> {
    let mut payloads: Vec<String> = Vec::new();
    let mut open = String::new();
    for total in totals {
        let text = serde_json::to_string(total)?;
        let text = if is_ascii { in_ascii(&text) } else { text };
        if !open.is_empty() && open.len() + text.len() + 2 > MOST_BYTES {
            open.push(']');
            payloads.push(std::mem::take(&mut open));
        }
        open.push(if open.is_empty() { '[' } else { ',' });
        open.push_str(&text);
    }
    if !open.is_empty() {
        open.push(']');
        payloads.push(open);
    }
    Ok(payloads)
}

/// The same JSON, with other characters by their numbers.
fn in_ascii(json: &str) -> String {
    let mut text = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #[test]
        fn all_totals_are_sent_in_order_and_each_payload_fits(
            totals in prop::collection::vec((".{1,60}|[\u{1}-\u{1f}]{1,200}", any::<Option<i64>>()), 0..300),
            is_ascii: bool,
        ) {
            let totals: Vec<Total> = totals.into_iter().map(|(id, value)| Total { id, value }).collect();
            let mut sent = Vec::new();
            for payload in payloads(&totals, is_ascii).unwrap() {
                prop_assert!(payload.len() < 8000);
                prop_assert!(payload.is_ascii() || !is_ascii);
                let Ok(Value::Array(elements)) = serde_json::from_str(&payload) else {
                    panic!("no array: {payload}")
                };
                prop_assert!(!elements.is_empty());
                sent.extend(elements.iter().map(|element| Total {
                    id: element["id"].as_str().unwrap().to_owned(),
                    value: element["value"].as_i64(),
                }));
            }
            prop_assert_eq!(sent, totals);
        }
    }

    #[test]
    fn what_is_sent_is_short() {
        let totals =
            [Total { id: "a\"b".to_owned(), value: Some(-1) }, Total { id: "ž".to_owned(), value: None }];
        let sent = payloads(&totals, false).unwrap();
        assert_eq!(sent, [r#"[{"id":"a\"b","value":-1},{"id":"ž","value":null}]"#]);
        let sent = payloads(&totals, true).unwrap();
        assert_eq!(sent, [r#"[{"id":"a\"b","value":-1},{"id":"\u017e","value":null}]"#]);
        assert!(payloads(&[], false).unwrap().is_empty());
    }
}
