//! Who visits: one hash for one human, of whatever type the caller has them.
//!
//! Drivers choose an integer's type by its size, and spell uuids as they like. So integers are hashed as their text, and a uuid, or a text
//! that says one, as the text that PostgreSQL writes. A value of any other type is hashed as in the aggregates.

use std::borrow::Cow;

use pgrx::AnyElement;

use crate::errors::CounterError;
use crate::pg::hashing;
use crate::pg::naming::{self, Name};

enum Known<'a> {
    Name(Name<'a>),
    Value(&'a AnyElement),
}

pub struct Visitor<'a> {
    /// As sketches keep it.
    pub hash: u64,
    known: Known<'a>,
}

impl<'a> Visitor<'a> {
    pub fn of_text(text: &'a [u8]) -> Visitor<'a> {
        Visitor::named(Name::Text(text))
    }

    /// Errors: 42883 values of that type cannot be hashed.
    pub fn of(value: &'a AnyElement) -> Result<Visitor<'a>, CounterError> {
        match naming::borrowed_name(value) {
            Some(name) => Ok(Visitor::named(name)),
            None => Ok(Visitor { hash: hashing::hash(value)?, known: Known::Value(value) }),
        }
    }

    #[inline]
    fn named(name: Name<'a>) -> Visitor<'a> {
        let name = name.in_one_spelling();
        Visitor { hash: hashing::hash_text(name.bytes()), known: Known::Name(name) }
    }

    /// The name under which a block list may have them; `None` for a value whose text settings decide.
    pub fn name(&self) -> Option<Cow<'_, [u8]>> {
        match &self.known {
            Known::Name(name) => Some(Cow::Borrowed(name.bytes())),
            Known::Value(value) => naming::text_if_it_has_one(value).map(Cow::Owned),
        }
    }
}
