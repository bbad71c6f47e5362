//! What aggregate support functions are called with: the running call's arguments, and a state that lives as long as
//! its group.

use std::marker::PhantomData;

use allocator_api2::boxed::Box;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::Oid;
use super::args::{argument_bytes, bytes_datum};
use super::context::Context;
use super::hashing::Hasher;
use crate::errors::CounterError;
use crate::fallible::OutOfMemory;

/// The call of an aggregate's support function, whose first argument is a state of type `S` or NULL.
pub struct Call<'fcx, S>(pg_sys::FunctionCallInfo, PhantomData<(&'fcx (), S)>);

impl<S> Clone for Call<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Call<'_, S> {}

// SAFETY: stands for all arguments at once and for none in SQL: the functions are declared by hand.
unsafe impl<S> SqlTranslatable for Call<'_, S> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Call<'_, S>);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("internal"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("internal")));
}

// SAFETY: the call's own structure lives as long as the call.
unsafe impl<'fcx, S> ArgAbi<'fcx> for Call<'fcx, S> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        Call(unsafe { pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg) }, PhantomData)
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

impl<'fcx, S> Call<'fcx, S> {
    /// An argument by its number from 0; `None` when NULL.
    #[inline]
    fn argument(self, number: usize) -> Option<pg_sys::Datum> {
        // SAFETY: support functions are declared with as many arguments as they ask for, and called with them.
        unsafe {
            let argument = &*(*self.0).args.as_ptr().add(number);
            (!argument.isnull).then_some(argument.value)
        }
    }

    /// The state of an argument.
    #[inline]
    pub fn state(self, number: usize) -> Option<&'fcx mut S> {
        // SAFETY: `internal` arguments hold what `keep` made, and one call at a time uses it.
        self.argument(number).map(|state| unsafe { &mut *state.cast_mut_ptr::<S>() })
    }

    /// The memory that lives as long as the aggregate's group, and is counted in work_mem. An ERROR outside aggregates.
    pub fn group_memory(self) -> Context {
        let mut context = std::ptr::null_mut();
        // SAFETY: asks the executor whether and in which context an aggregate runs. A state and what it holds go with that
        // context, together, and are not used afterwards.
        unsafe {
            if pg_sys::AggCheckCallContext(self.0, &mut context) == 0 {
                CounterError::Internal("aggregate function called outside an aggregate".to_owned()).raise();
            }
            Context::new(context)
        }
    }

    /// The caller's short-lived memory: for what is only to be combined with another.
    pub fn memory_for_now(self) -> Context {
        // SAFETY: the context outlives the executor's use of the result, and nothing else has it.
        unsafe { Context::new(pg_sys::CurrentMemoryContext) }
    }

    /// Keeps a state in the memory that it allocates from. It is never dropped: it goes with that memory, and must hold
    /// nothing of anywhere else.
    pub fn keep(self, state: S, memory: Context) -> Result<&'fcx mut S, OutOfMemory> {
        let kept = Box::try_new_in(state, memory);
        kept.map(Box::leak).map_err(|_| OutOfMemory { what: "an aggregate's state", bytes: size_of::<S>() })
    }

    /// A non-null integer argument.
    pub fn int(self, number: usize) -> Option<i32> {
        self.argument(number).map(|datum| datum.value() as i32)
    }

    /// A non-null bigint argument.
    pub fn bigint(self, number: usize) -> Option<i64> {
        self.argument(number).map(|datum| datum.value() as i64)
    }

    /// The bytes of a varlena argument.
    #[inline]
    pub fn bytes(self, number: usize) -> Option<&'fcx [u8]> {
        // SAFETY: asked for arguments that are declared as a varlena type only.
        self.argument(number).map(|datum| unsafe { argument_bytes(datum) })
    }

    /// How the values of a polymorphic argument are hashed.
    pub fn hasher(self, number: usize) -> Result<Hasher, CounterError> {
        // SAFETY: reads the call's expression.
        let oid = unsafe { pg_sys::get_fn_expr_argtype((*self.0).flinfo, number as i32) };
        if oid == Oid::from(0) {
            return Err(CounterError::Internal("could not determine the type of an argument".to_owned()));
        }
        Hasher::of_type(oid)
    }

    /// The hash of a polymorphic argument; `None` when NULL.
    #[inline]
    pub fn hash(self, number: usize, hasher: Hasher) -> Option<u64> {
        // SAFETY: an aggregate's argument has the same type in every call of a group.
        self.argument(number).map(|datum| unsafe { hasher.hash(datum) })
    }
}

/// A state to which most values can be added with nothing that fails.
pub trait Quick {
    /// How values are hashed, once that is known.
    fn hasher(&self) -> Option<Hasher>;
    /// Adds a hash; false when that takes more than a look and a store.
    fn add_quickly(&mut self, hash: u64) -> bool;
}

/// Adds the second argument to the state that is the first, if that cannot fail: no guard is needed for it, which is a good
/// part of the cost of a row. `None` when nothing was done.
///
/// # Safety
/// The call must be one of an aggregate's transition function of a state of type `S`, for one type of values.
#[inline]
pub unsafe fn add_quickly<S: Quick>(call: pg_sys::FunctionCallInfo) -> Option<pg_sys::Datum> {
    // SAFETY: a transition function has two arguments at least; the state is what `keep` made, and one call at a time uses it.
    unsafe {
        let state = &*(*call).args.as_ptr();
        let value = &*(*call).args.as_ptr().add(1);
        if state.isnull || value.isnull {
            return None;
        }
        let sketch = &mut *state.value.cast_mut_ptr::<S>();
        let hash = sketch.hasher()?.hash_quickly(value.value)?;
        sketch.add_quickly(hash).then_some(state.value)
    }
}

/// Makes a transition function, with PostgreSQL's calling convention, of a quick way and a pgrx function for the rest.
macro_rules! transition_function {
    ($name:ident, $information:ident, $state:ty, $rest:path) => {
        // SAFETY: the name is unique to this library; PostgreSQL calls it as it calls what it leaves the rest to.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: declared in SQL as a transition function of this state, polymorphic in its second argument.
            unsafe {
                match $crate::pg::aggregate::add_quickly::<$state>(call) {
                    Some(state) => {
                        (*call).isnull = false;
                        state
                    }
                    None => $rest(call),
                }
            }
        }

        // SAFETY: the name is what PostgreSQL looks for beside the function's.
        #[unsafe(no_mangle)]
        pub extern "C" fn $information() -> &'static pgrx::pg_sys::Pg_finfo_record {
            &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
        }
    };
}
pub(crate) use transition_function;

/// What a support function returns.
pub enum Returned {
    Null,
    State(*mut std::ffi::c_void),
    Bytes(Vec<u8>),
    Bigint(i64),
}

impl Returned {
    /// A state on its way back to the executor.
    #[inline]
    pub fn state<S>(state: &mut S) -> Returned {
        Returned::State(std::ptr::from_mut(state).cast())
    }
}

// SAFETY: the functions are declared by hand, with the SQL type of what they return.
unsafe impl SqlTranslatable for Returned {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Returned);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("internal"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("internal")));
}

// SAFETY: a datum of the type that the function is declared to return.
unsafe impl BoxRet for Returned {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe {
            match self {
                Returned::Null => fcinfo.return_null(),
                Returned::State(state) => fcinfo.return_raw_datum(pg_sys::Datum::from(state)),
                Returned::Bytes(bytes) => fcinfo.return_raw_datum(bytes_datum(&bytes)),
                Returned::Bigint(value) => fcinfo.return_raw_datum(pg_sys::Datum::from(value)),
            }
        }
    }
}
