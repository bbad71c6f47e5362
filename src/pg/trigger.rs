//! What a trigger function is called with: event, level, table, arguments, and the rows.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::counted::Counted;
use super::source::{Event, Source};
use super::truncation::Truncation;
use super::{Oid, installed, process};
use crate::errors::CounterError;

/// The call of a trigger function, which is declared by hand.
#[derive(Clone, Copy)]
pub struct TriggerCall<'fcx>(pg_sys::FunctionCallInfo, PhantomData<&'fcx ()>);

// SAFETY: stands for the call, and for no argument in SQL.
unsafe impl SqlTranslatable for TriggerCall<'_> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(TriggerCall<'_>);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("internal"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("internal")));
}

// SAFETY: the call's own structure lives as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for TriggerCall<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        installed::check();
        // SAFETY: as above.
        TriggerCall(unsafe { pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg) }, PhantomData)
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

/// What a trigger returns that changes no row: no tuple, which is not SQL's NULL.
pub struct NoTuple;

// SAFETY: the function is declared by hand, as returning `trigger`.
unsafe impl SqlTranslatable for NoTuple {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(NoTuple);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("trigger"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("trigger")));
}

// SAFETY: a null pointer is what a trigger returns in place of a tuple.
unsafe impl BoxRet for NoTuple {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::null()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Before,
    After,
    InsteadOf,
}

/// One of the two sets of rows a statement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Old,
    New,
}

/// A trigger that has fired.
#[derive(Clone, Copy)]
pub struct Fired<'fcx> {
    data: &'fcx pg_sys::TriggerData,
    trigger: &'fcx pg_sys::Trigger,
}

impl<'fcx> TriggerCall<'fcx> {
    /// What PostgreSQL passes beside the arguments; may be null.
    pub(super) fn context(self) -> *mut pg_sys::Node {
        // SAFETY: the call's own structure.
        unsafe { (*self.0).context }
    }

    /// `None` where the function was not called as a trigger.
    pub fn fired(self) -> Option<Fired<'fcx>> {
        // SAFETY: the trigger manager passes a TriggerData as the call's context, tagged as such; it and its trigger live as
        // long as the call.
        unsafe {
            let context = self.context();
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return None;
            }
            let data = &*(context as *const pg_sys::TriggerData);
            Some(Fired { data, trigger: &*data.tg_trigger })
        }
    }
}

impl<'fcx> Fired<'fcx> {
    pub fn event(&self) -> Event {
        match self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Event::Insert,
            pg_sys::TRIGGER_EVENT_DELETE => Event::Delete,
            pg_sys::TRIGGER_EVENT_UPDATE => Event::Update,
            _ => Event::Truncate,
        }
    }

    pub fn timing(&self) -> Timing {
        match self.data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK {
            pg_sys::TRIGGER_EVENT_BEFORE => Timing::Before,
            pg_sys::TRIGGER_EVENT_INSTEAD => Timing::InsteadOf,
            _ => Timing::After,
        }
    }

    pub fn is_for_each_row(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    /// The arguments that CREATE TRIGGER gave.
    pub fn arguments(&self) -> Vec<&'fcx [u8]> {
        // SAFETY: `tgnargs` NUL-terminated strings, which live as long as the trigger's description.
        let argument = |at: i16| unsafe { CStr::from_ptr(*self.trigger.tgargs.add(at as usize)) }.to_bytes();
        // BOUND: arguments of one trigger.
        (0..self.trigger.tgnargs).map(argument).collect()
    }

    /// The trigger function.
    pub fn function(&self) -> Oid {
        self.trigger.tgfoid
    }

    /// The TRUNCATE that fired it. Asked for before anything else changes the memory context.
    pub fn truncation(&self) -> Result<Truncation, CounterError> {
        Truncation::of_caller()
    }

    /// Whether a trigger of this function and these arguments tells of the table's rows as they come and go.
    pub fn counts_rows_too(&self) -> bool {
        let arguments = self.arguments();
        self.table().triggers().iter().any(|other| {
            other.function == self.function()
                && other.arguments.iter().map(Vec::as_slice).eq(arguments.iter().copied())
                && [Event::Insert, Event::Delete, Event::Update].into_iter().any(|event| other.is_for(event))
        })
    }

    /// The table; of a statement that names a partitioned table, that one.
    pub fn table(&self) -> Source {
        // SAFETY: the trigger manager's caller keeps the relation open and locked for the call.
        unsafe { Source::of_open(self.data.tg_relation) }
    }

    /// Whether another trigger of the same function and arguments tells of the same rows in this session: where there are one for
    /// each statement and one for each row, the latter does in replicas, the former elsewhere.
    pub fn is_left_to_another(&self) -> bool {
        let in_replica = process::is_replica();
        let is_row = self.is_for_each_row();
        if self.event() == Event::Truncate || is_row == in_replica {
            return false;
        }
        let event = self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        let bit = match event {
            pg_sys::TRIGGER_EVENT_INSERT => pg_sys::TRIGGER_TYPE_INSERT,
            pg_sys::TRIGGER_EVENT_DELETE => pg_sys::TRIGGER_TYPE_DELETE,
            _ => pg_sys::TRIGGER_TYPE_UPDATE,
        };
        let own_state = if in_replica { b'R' } else { b'O' };
        // SAFETY: the table's trigger description, which has this trigger, and as many as it says; each has `tgnargs` arguments.
        unsafe {
            let description = (*self.data.tg_relation).trigdesc;
            let all =
                std::slice::from_raw_parts((*description).triggers, (*description).numtriggers as usize);
            let argument =
                |trigger: &pg_sys::Trigger, at: i16| CStr::from_ptr(*trigger.tgargs.add(at as usize));
            let has_same_arguments = |other: &pg_sys::Trigger| {
                other.tgnargs == self.trigger.tgnargs
                    && (0..other.tgnargs).all(|at| argument(other, at) == argument(self.trigger, at))
            };
            all.iter().any(|other| {
                other.tgfoid == self.trigger.tgfoid
                    && (other.tgtype as u32 & pg_sys::TRIGGER_TYPE_ROW != 0) != is_row
                    && other.tgtype as u32 & bit != 0
                    && (other.tgenabled as u8 == b'A' || other.tgenabled as u8 == own_state)
                    && has_same_arguments(other)
            })
        }
    }

    /// Whether the trigger was declared with this transition table.
    pub fn has_transition_table(&self, side: Side) -> bool {
        match side {
            Side::Old => !self.trigger.tgoldtable.is_null(),
            Side::New => !self.trigger.tgnewtable.is_null(),
        }
    }

    /// Appends the key of the row that a row trigger fired for, and returns what it counts for; `None` where it does not.
    pub fn row(&self, side: Side, counted: &Counted, key: &mut Vec<u8>) -> Option<i64> {
        let slot = match (self.event(), side) {
            (Event::Update, Side::New) => self.data.tg_newslot,
            _ => self.data.tg_trigslot,
        };
        // SAFETY: AFTER ROW triggers are called with these slots filled; the columns are the table's.
        unsafe { counted.read(slot, key) }
    }

    /// The rows of a transition table.
    pub fn rows(&self, side: Side) -> Rows<'fcx> {
        let store = match side {
            Side::Old => self.data.tg_oldtable,
            Side::New => self.data.tg_newtable,
        };
        // SAFETY: a transition table is a store of minimal tuples in the format of the trigger's table. Other readers
        // select their own read pointers before they read; the first one is there from the start and rewinds.
        let slot = unsafe {
            if !store.is_null() {
                pg_sys::tuplestore_select_read_pointer(store, 0);
                pg_sys::tuplestore_rescan(store);
            }
            pg_sys::MakeSingleTupleTableSlot(
                (*self.data.tg_relation).rd_att,
                &raw const pg_sys::TTSOpsMinimalTuple,
            )
        };
        Rows { store, slot, call: PhantomData }
    }
}

/// The rows of a transition table, in its order.
pub struct Rows<'fcx> {
    store: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
    call: PhantomData<&'fcx ()>,
}

impl Rows<'_> {
    /// Goes to the next row; false at the end.
    pub fn advance(&mut self) -> bool {
        // SAFETY: the store and the slot live as long as `self`; the slot is of the store's kind and format.
        unsafe {
            !self.store.is_null() && pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot)
        }
    }

    /// Appends the key of the row that `advance` went to, and returns what it counts for; `None` where it does not.
    pub fn row(&self, counted: &Counted, key: &mut Vec<u8>) -> Option<i64> {
        // SAFETY: empty slots are told apart; else it holds a row of the trigger's table, which `counted` is of.
        unsafe {
            if (*self.slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                return None;
            }
            counted.read(self.slot, key)
        }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made in `rows`, dropped once.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) }
        }
    }
}
