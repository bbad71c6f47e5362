//! The aggregates over and into sketches. One state serves all of them, in parallel workers too. All of a state is in the
//! memory of its group, where PostgreSQL sees what it takes.

use pgrx::prelude::*;

use super::hll::rounded;
use crate::errors::{CounterError, OrRaise};
use crate::hll::{Parameters, Sketch};
use crate::pg::aggregate::{Call, Quick, Returned, transition_function};
use crate::pg::context::Context;
use crate::pg::hashing::Hasher;

/// A group's sketch so far. What came from another process knows no hasher: it is only united.
struct State {
    sketch: Sketch<Context>,
    hasher: Option<Hasher>,
}

type StateCall<'fcx> = Call<'fcx, State>;

impl Quick for State {
    #[inline]
    fn hasher(&self) -> Option<Hasher> {
        self.hasher
    }

    #[inline]
    fn add_quickly(&mut self, hash: u64) -> bool {
        self.sketch.add_to_registers(hash)
    }
}

transition_function!(counter_hll_agg_step, pg_finfo_counter_hll_agg_step, State, counter_hll_agg_add_wrapper);
transition_function!(
    counter_hll_agg_step_log2m,
    pg_finfo_counter_hll_agg_step_log2m,
    State,
    counter_hll_agg_add_log2m_wrapper
);
transition_function!(
    counter_hll_agg_step_all,
    pg_finfo_counter_hll_agg_step_all,
    State,
    counter_hll_agg_add_all_wrapper
);

/// Adds a value: (state, value [, log2m [, regwidth, expthresh, sparseon]]).
#[pg_extern(sql = false, name = "counter_hll_agg_add")]
fn counter_hll_agg_add(call: StateCall<'_>) -> Returned {
    add_value(call, |_| Ok(Parameters::default()))
}

/// As above, with `log2m`.
#[pg_extern(sql = false, name = "counter_hll_agg_add_log2m")]
fn counter_hll_agg_add_log2m(call: StateCall<'_>) -> Returned {
    add_value(call, |call| {
        let log2m = call.int(2).ok_or(CounterError::NullArgument { argument: "log2m" })?;
        Ok(Parameters::with_log2m(i64::from(log2m))?)
    })
}

/// As above, with all parameters.
#[pg_extern(sql = false, name = "counter_hll_agg_add_all")]
fn counter_hll_agg_add_all(call: StateCall<'_>) -> Returned {
    add_value(call, |call| {
        let int =
            |number, argument| call.int(number).map(i64::from).ok_or(CounterError::NullArgument { argument });
        let expthresh = call.bigint(4).ok_or(CounterError::NullArgument { argument: "expthresh" })?;
        Ok(Parameters::new(int(2, "log2m")?, int(3, "regwidth")?, expthresh, int(5, "sparseon")?)?)
    })
}

#[inline]
fn add_value(
    call: StateCall<'_>,
    parameters: impl FnOnce(StateCall<'_>) -> Result<Parameters, CounterError>,
) -> Returned {
    let state = match call.state(0) {
        Some(state) => state,
        None => {
            let memory = call.group_memory();
            let sketch = Sketch::new_in(parameters(call).or_raise(), memory);
            call.keep(State { sketch, hasher: None }, memory).or_raise()
        }
    };
    let hasher = match state.hasher {
        Some(hasher) => hasher,
        None => *state.hasher.insert(call.hasher(1).or_raise()),
    };
    if let Some(hash) = call.hash(1, hasher) {
        state.sketch.add(hash).or_raise();
    }
    Returned::state(state)
}

/// Adds a sketch: (state, sketch).
#[pg_extern(sql = false, name = "counter_hll_agg_unite")]
fn counter_hll_agg_unite(call: StateCall<'_>) -> Returned {
    let Some(bytes) = call.bytes(1) else {
        return call.state(0).map_or(Returned::Null, Returned::state);
    };
    let unite = || -> Result<Returned, CounterError> {
        match call.state(0) {
            Some(state) => {
                state.sketch.unite_encoded(bytes)?;
                Ok(Returned::state(state))
            }
            None => {
                let memory = call.group_memory();
                let sketch = Sketch::decode_in(bytes, memory)?;
                Ok(Returned::state(call.keep(State { sketch, hasher: None }, memory)?))
            }
        }
    };
    unite().or_raise()
}

/// Puts the states of two processes together.
#[pg_extern(sql = false, name = "counter_hll_agg_combine")]
fn counter_hll_agg_combine(call: StateCall<'_>) -> Returned {
    match (call.state(0), call.state(1)) {
        (Some(state), Some(other)) => {
            state.sketch.unite(&other.sketch).or_raise();
            Returned::state(state)
        }
        (None, Some(other)) => {
            // The other's memory is not this group's.
            let memory = call.group_memory();
            let copy = State { sketch: other.sketch.copy_in(memory).or_raise(), hasher: other.hasher };
            Returned::state(call.keep(copy, memory).or_raise())
        }
        (Some(state), None) => Returned::state(state),
        (None, None) => Returned::Null,
    }
}

/// A state on its way between processes.
#[pg_extern(sql = false, name = "counter_hll_agg_serial")]
fn counter_hll_agg_serial(call: StateCall<'_>) -> Returned {
    call.state(0).map_or(Returned::Null, |state| Returned::Bytes(state.sketch.encode().or_raise()))
}

/// A state that came from another process.
#[pg_extern(sql = false, name = "counter_hll_agg_deserial")]
fn counter_hll_agg_deserial(call: StateCall<'_>) -> Returned {
    let Some(bytes) = call.bytes(0) else {
        return Returned::Null;
    };
    let memory = call.memory_for_now();
    let sketch = Sketch::decode_in(bytes, memory).or_raise();
    Returned::state(call.keep(State { sketch, hasher: None }, memory).or_raise())
}

/// The sketch; NULL for no rows.
#[pg_extern(sql = false, name = "counter_hll_agg_sketch")]
fn counter_hll_agg_sketch(call: StateCall<'_>) -> Returned {
    call.state(0).map_or(Returned::Null, |state| Returned::Bytes(state.sketch.encode().or_raise()))
}

/// The number of distinct values; 0 for no rows.
#[pg_extern(sql = false, name = "counter_hll_agg_count")]
fn counter_hll_agg_count(call: StateCall<'_>) -> Returned {
    Returned::Bigint(call.state(0).map_or(0, |state| rounded(&state.sketch).or_raise()))
}
