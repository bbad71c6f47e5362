//! A cache's definition as the arguments of its triggers: the only form that lasts, which a dump holds.
//!
//! First come the prefix and a column of the key, then pairs of a word and a name. On the counted table: `key` names a further
//! column of the key, `amount` the column that is summed, `only` the condition; `through` the middle table (with its schema, as
//! SQL writes it), `by` its column that the key is found in, `to` its column that counters are named by. On the middle table the
//! trigger has the same prefix, its `by` column, `to`, and with `of` the counted table. Names are those of columns as the catalogs
//! have them, without quotes. sql/caches.sql follows renames in this form.
//!
//! BOUND: names and arguments of one table's triggers, as long as the catalogs hold.

use std::ffi::CString;

use super::errors::CacheError;
use super::key_id;
use crate::errors::{CounterError, check_id};

/// A column's name, as long as PostgreSQL lets it be.
const MAX_NAME_BYTES: usize = 63;
/// A table's name with its schema, as SQL writes it where each byte is a quote.
const MAX_TABLE_BYTES: usize = 2 * (2 * MAX_NAME_BYTES + 2) + 1;
/// As many as an index has.
const MAX_KEYS: usize = 32;
/// More than the longest arguments that `Role::of` takes, each with a NUL behind it. Those of a trigger that are longer count nothing; what
/// looks at all triggers passes them over, in sql/caches.sql too.
pub const MAX_BYTES: usize = 4096;

/// Whose rows are counted into which counters, by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What the counters' ids begin with.
    pub prefix: CString,
    /// The columns that name the rest of the id, at least one.
    pub keys: Vec<CString>,
    /// A row counts for what is in this column, and for 1 where there is none.
    pub amount: Option<CString>,
    /// Only rows that have true in this column count.
    pub only: Option<CString>,
    pub through: Option<Through>,
}

/// A table between the counted rows and what counters are named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// Its name with its schema, as SQL writes it.
    pub table: CString,
    /// The column that the key refers to.
    pub by: CString,
    /// The column that names the counters.
    pub to: CString,
}

/// What a trigger of the middle table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Middle {
    pub prefix: CString,
    pub by: CString,
    pub to: CString,
    /// The counted table's name with its schema, as SQL writes it.
    pub of: CString,
}

/// What a trigger is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Counted(Definition),
    Middle(Middle),
}

impl Definition {
    /// Errors: 22023 no id can begin like this, or there is no key.
    pub fn new(prefix: &[u8], keys: &[&[u8]]) -> Result<Definition, CounterError> {
        if !prefix.is_empty() {
            check_id(prefix)?;
        }
        key_id::check_prefix(prefix)?;
        if keys.is_empty() {
            return Err(CacheError::NoKey.into());
        }
        let keys = keys.iter().map(|key| text(key)).collect::<Result<_, _>>()?;
        Ok(Definition { prefix: text(prefix)?, keys, amount: None, only: None, through: None })
    }

    pub fn prefix(&self) -> &[u8] {
        self.prefix.to_bytes()
    }

    /// As the counted table's triggers have it.
    pub fn arguments(&self) -> Vec<CString> {
        let mut arguments = vec![self.prefix.clone(), self.keys[0].clone()];
        let mut add = |word: &std::ffi::CStr, name: &CString| {
            arguments.extend([word.to_owned(), name.clone()]);
        };
        self.keys[1..].iter().for_each(|key| add(c"key", key));
        self.amount.iter().for_each(|amount| add(c"amount", amount));
        self.only.iter().for_each(|only| add(c"only", only));
        if let Some(through) = &self.through {
            add(c"through", &through.table);
            add(c"by", &through.by);
            add(c"to", &through.to);
        }
        arguments
    }

    /// What the middle table's triggers are to say, if there is one.
    pub fn middle(&self, counted_table: Vec<u8>) -> Result<Option<Middle>, CounterError> {
        let Some(through) = &self.through else { return Ok(None) };
        Ok(Some(Middle {
            prefix: self.prefix.clone(),
            by: through.by.clone(),
            to: through.to.clone(),
            of: text(&counted_table)?,
        }))
    }
}

impl Middle {
    /// As the middle table's triggers have it.
    pub fn arguments(&self) -> Vec<CString> {
        vec![
            self.prefix.clone(),
            self.by.clone(),
            c"to".to_owned(),
            self.to.clone(),
            c"of".to_owned(),
            self.of.clone(),
        ]
    }
}

impl Role {
    /// Errors: 39P01 the arguments say nothing that counts; 22023 no id can begin like this.
    pub fn of<A: AsRef<[u8]>>(arguments: &[A]) -> Result<Role, CounterError> {
        let [prefix, key, pairs @ ..] = arguments else {
            return Err(misuse("it takes a prefix of counters and a column"));
        };
        // Anybody makes a trigger on a table of his own, and everybody's commands read what it says.
        let check_name = |name: &[u8], most: usize| {
            if name.len() > most {
                Err(misuse("a name in its arguments is too long for one"))
            } else {
                Ok(())
            }
        };
        let mut definition = Definition::new(prefix.as_ref(), &[key.as_ref()])?;
        check_name(key.as_ref(), MAX_NAME_BYTES)?;
        let (mut table, mut by, mut to, mut of) = (None, None, None, None);
        for pair in pairs.chunks(2) {
            let [word, name] = pair else {
                return Err(misuse("a word of its arguments has no name after it"));
            };
            let is_of_table = matches!(word.as_ref(), b"through" | b"of");
            check_name(name.as_ref(), if is_of_table { MAX_TABLE_BYTES } else { MAX_NAME_BYTES })?;
            let name = text(name.as_ref())?;
            let place = match word.as_ref() {
                b"key" if definition.keys.len() == MAX_KEYS => {
                    return Err(misuse("there are more columns of a key in its arguments than it takes"));
                }
                b"key" => {
                    definition.keys.push(name);
                    continue;
                }
                b"amount" => &mut definition.amount,
                b"only" => &mut definition.only,
                b"through" => &mut table,
                b"by" => &mut by,
                b"to" => &mut to,
                b"of" => &mut of,
                _ => {
                    return Err(misuse(
                        "arguments after prefix and column are pairs of key, amount, only, through, by, to and a name",
                    ));
                }
            };
            if place.replace(name).is_some() {
                return Err(misuse("an argument is given twice"));
            }
        }
        let is_plain = definition.keys.len() == 1 && definition.amount.is_none() && definition.only.is_none();
        match (table, by, to, of) {
            (None, None, None, None) => Ok(Role::Counted(definition)),
            (Some(table), Some(by), Some(to), None) if definition.keys.len() == 1 => {
                definition.through = Some(Through { table, by, to });
                Ok(Role::Counted(definition))
            }
            (None, None, Some(to), Some(of)) if is_plain => {
                let Definition { prefix, mut keys, .. } = definition;
                Ok(Role::Middle(Middle { prefix, by: keys.remove(0), to, of }))
            }
            _ => Err(misuse("through, by and to go together, with one column of key")),
        }
    }
}

fn text(bytes: &[u8]) -> Result<CString, CounterError> {
    CString::new(bytes).map_err(|_| CounterError::Internal("a text with a NUL".to_owned()))
}

fn misuse(why: &'static str) -> CounterError {
    CacheError::TriggerMisuse { why }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(arguments: &[CString]) -> Vec<Vec<u8>> {
        arguments.iter().map(|argument| argument.to_bytes().to_vec()).collect()
    }

    fn name() -> impl Strategy<Value = CString> {
        "[a-z:' ]{1,6}|key|only|to".prop_map(|name| CString::new(name).unwrap())
    }

    #[test]
    fn a_prefix_is_the_beginning_of_an_id() {
        assert!(Definition::new(b"", &[b"c"]).is_ok());
        assert!(Definition::new(b"post:", &[b"c"]).is_ok());
        assert!(Definition::new(&[b'x'; 183], &[b"c"]).is_ok());
        assert!(Definition::new(&[b'x'; 184], &[b"c"]).is_err());
        assert_eq!(Definition::new(&[b'x'; 256], &[b"c"]).err(), Some(CounterError::LongId { bytes: 256 }));
        assert_eq!(Definition::new(b"\x01likes", &[b"c"]).err(), Some(CounterError::ReservedId));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases: [&[&[u8]]; 9] = [
            &[],
            &[b"p:"],
            &[b"p:", b"k", b"amount"],
            &[b"p:", b"k", b"total", b"c"],
            &[b"p:", b"k", b"amount", b"c", b"amount", b"d"],
            &[b"p:", b"k", b"through", b"t"],
            &[b"p:", b"k", b"key", b"l", b"through", b"t", b"by", b"i", b"to", b"j"],
            &[b"p:", b"k", b"to", b"j", b"of", b"t", b"only", b"c"],
            &[b"p:", b"k", b"through", b"t", b"by", b"i", b"to", b"j", b"of", b"u"],
        ];
        for arguments in cases {
            assert!(Role::of(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_name_is_refused() {
        let (name, long) = ([b'n'; MAX_NAME_BYTES], [b'n'; MAX_NAME_BYTES + 1]);
        let (table, long_table) = ([b'"'; MAX_TABLE_BYTES], [b'"'; MAX_TABLE_BYTES + 1]);
        fn of(arguments: &[&[u8]]) -> Result<Role, CounterError> {
            Role::of(arguments)
        }
        assert!(of(&[b"p:", &name]).is_ok());
        assert!(of(&[b"p:", &long]).is_err());
        assert!(of(&[b"p:", b"k", b"only", &long]).is_err());
        assert!(of(&[b"p:", b"k", b"to", &name, b"of", &table]).is_ok());
        assert!(of(&[b"p:", b"k", b"to", &long, b"of", b"t"]).is_err());
        assert!(of(&[b"p:", b"k", b"to", b"j", b"of", &long_table]).is_err());
        assert!(of(&[b"p:", b"k", b"through", &long_table, b"by", b"i", b"to", b"j"]).is_err());
    }

    #[test]
    fn the_longest_arguments_that_count_are_looked_at() {
        let (prefix, name, table) = ([b'p'; 183], [b'n'; MAX_NAME_BYTES], [b't'; MAX_TABLE_BYTES]);
        let mut keys: Vec<&[u8]> = vec![&prefix[..], &name];
        (1..MAX_KEYS).for_each(|_| keys.extend([&b"key"[..], &name]));
        let mut most = keys.clone();
        most.extend([&b"amount"[..], &name, b"only", &name]);
        assert!(Role::of(&most).is_ok());
        most.extend([&b"through"[..], &table, b"by", &name, b"to", &name]);
        assert!(most.iter().map(|argument| argument.len() + 1).sum::<usize>() <= MAX_BYTES);
        keys.extend([&b"key"[..], &name]);
        assert!(Role::of(&keys).is_err());
        // As sql/caches.sql has it.
        let script = include_str!("../../sql/caches.sql");
        assert!(script.contains(&format!("octet_length(e.tgargs) OPERATOR(pg_catalog.<=) {MAX_BYTES}")));
    }

    proptest! {
        #[test]
        fn a_definition_reads_as_it_was_written(
            prefix in name(),
            keys in proptest::collection::vec(name(), 1..4),
            amount in proptest::option::of(name()),
            only in proptest::option::of(name()),
            through in proptest::option::of((name(), name(), name())),
        ) {
            let through = through.filter(|_| keys.len() == 1).map(|(table, by, to)| Through { table, by, to });
            let definition = Definition { prefix, keys, amount, only, through };
            let read = Role::of(&bytes(&definition.arguments()));
            prop_assert_eq!(read, Ok(Role::Counted(definition)));
        }

        #[test]
        fn a_middle_table_reads_as_it_was_written(prefix in name(), by in name(), to in name(), of in name()) {
            let middle = Middle { prefix, by, to, of };
            prop_assert_eq!(Role::of(&bytes(&middle.arguments())), Ok(Role::Middle(middle)));
        }
    }
}
