//! Shards move between nodes, and what was counted follows them: the worker of the node that had a shard gives what it still has of the
//! shard's ids to the node that has it now.
//!
//! Amounts of counters are taken in a transaction that writes them into counter_ext.moving, and then brought to the node as a batch of
//! a source: that counts a batch once, however often it comes (`idempotency`). So a crash of either node, at any moment, loses nothing and counts
//! nothing twice. A batch goes to the node that it was first meant for, even where the shard has moved on by then: only that node knows whether it
//! has it. Likes, visitors, tokens and how far sources have come
//! are rows that may come more than once; they go here once they are there.
//!
//! Transactions that had begun to count before the shard moved may commit here afterwards, so the walk is made again for a while.
//!
//! What must not be done twice (tokens, likes, offsets of sources) is refused by the node that has the shard now until every other one has said that
//! nothing is left there (`move_rows`, `look_for_arrivals` in sql/sharding.sql). A node notes the shard first, then the transactions that have a
//! table of these rows locked; those that lock one later know of the move. Once they have ended it moves the rows, and says that the shard is left
//! when it finds none. All of that is kept in tables and flushed, with the placement that is meant: a crash between any two steps
//! leaves a shard that is waited for, never one that has arrived too early. After a restart any prepared transaction may be one of those.
//!
//! BOUND: as many ids as one piece.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::errors::ShardingError;
use crate::counting::leaving;
use crate::errors::{self, CounterError};
use crate::family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::epochs;
use crate::owners;
use crate::owners::ranges::Owner;
use crate::pg::spi::{self, Parameter, Spi};
use crate::pg::{catalog, process};
use crate::rows::access::{Tables, as_owner};
use crate::rows::list::Id;

/// Ids that one piece looks at.
const PIECE: usize = 500;
/// How long after a change of owners each pass walks over all ids.
const UNQUIET: Duration = Duration::from_secs(60);
/// How often all ids are looked at otherwise: a transaction may take long.
const WALK_INTERVAL: Duration = Duration::from_secs(600);
/// How soon a node that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

pub const MOVE: Step = Step {
    name: "moving counters to the nodes that have them now",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(Moving { at: Phase::Delivering, after: Id::default(), took_any: false }),
};

/// What the worker remembers from pass to pass.
#[derive(Clone, Copy)]
struct Memory {
    owners_version: u64,
    changed_at: Instant,
    walked_at: Option<Instant>,
    failed_at: Option<Instant>,
    /// When another node did not say what it has left.
    unanswered_at: Option<Instant>,
    /// Shards of other nodes may have rows here.
    is_unfinished: bool,
}

thread_local! {
    static MEMORY: Cell<Option<Memory>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Delivering,
    Walking,
    Families,
}

struct Moving {
    at: Phase,
    after: Id,
    took_any: bool,
}

const DONE: Progress = Progress { rows: 0, overflowed: 0, is_done: true };

impl Work for Moving {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        // What is taken has to be committed before it is brought anywhere, so this is the worker's.
        if how.waits || !owners::are_spread()? {
            return Ok(DONE);
        }
        let mut memory = remembered();
        if self.at == Phase::Delivering {
            look_for_arrivals(tables, &mut memory)?;
            MEMORY.set(Some(memory));
        }
        if memory.failed_at.is_some_and(|at| at.elapsed() < RETRY_INTERVAL) {
            return Ok(DONE);
        }
        let progress = match self.at {
            Phase::Delivering => {
                let problem = deliver(tables)?;
                memory.failed_at = problem.as_ref().map(|_| Instant::now());
                if let Some(problem) = problem {
                    // What was brought is noted with the next one: the node passes over what it has.
                    MEMORY.set(Some(memory));
                    return Err(ShardingError::NotDelivered { problem }.into());
                }
                let is_due = memory.is_unfinished
                    || memory.changed_at.elapsed() < UNQUIET
                    || memory.walked_at.is_none_or(|at| at.elapsed() >= WALK_INTERVAL);
                self.at = Phase::Walking;
                Progress { is_done: self.took_any || !is_due, ..Progress::default() }
            }
            Phase::Walking => {
                let progress = self.walk(tables)?;
                if progress.is_done {
                    self.at = Phase::Families;
                }
                Progress { is_done: false, ..progress }
            }
            Phase::Families => {
                let Moved { rows, is_unfinished, problem } = move_rows(tables)?;
                memory.is_unfinished = is_unfinished;
                memory.failed_at = problem.as_ref().map(|_| Instant::now());
                if let Some(problem) = problem {
                    // What has been moved stays so: this is not for the error of a step, which would take it back.
                    let reason = errors::text(&problem);
                    pgrx::warning!(
                        "counter_ext: rows could not be moved to another node, will retry: {reason}"
                    );
                    MEMORY.set(Some(memory));
                    return Ok(DONE);
                }
                if rows == 0 {
                    memory.walked_at = Some(Instant::now());
                    self.at = Phase::Delivering;
                }
                let is_done = rows == 0 && !self.took_any;
                Progress { rows, overflowed: 0, is_done }
            }
        };
        MEMORY.set(Some(memory));
        Ok(progress)
    }
}

/// What is remembered, brought up to date with the cluster.
fn remembered() -> Memory {
    let version = owners::version();
    match MEMORY.get() {
        Some(memory) if memory.owners_version == version => memory,
        _ => Memory {
            owners_version: version,
            changed_at: Instant::now(),
            walked_at: None,
            failed_at: None,
            unanswered_at: None,
            is_unfinished: true,
        },
    }
}

impl Moving {
    /// Takes what there is of the next ids that are not this node's.
    fn walk(&mut self, tables: Tables) -> Result<Progress, CounterError> {
        let database = u32::from(catalog::my_database());
        let Some(recovered) = epochs::recovered(database, u32::from(tables.total)) else { return Ok(DONE) };
        if !family::try_lock_to_drop(tables) {
            return Ok(DONE);
        }
        let ids = leaving::ids_after(tables, &self.after, PIECE)?;
        let mut taken: Vec<(i32, Vec<(Id, i64)>)> = Vec::new();
        for id in &ids {
            process::check_for_interrupts();
            let Owner::Group(group) = owners::owner(id)? else { continue };
            let at = taken.iter().position(|(other, _)| *other == group).unwrap_or_else(|| {
                taken.push((group, Vec::new()));
                taken.len() - 1
            });
            as_owner(tables, |_| leaving::take(&recovered, tables, id, &mut taken[at].1))?;
        }
        let mut rows = 0;
        for (group, amounts) in taken.iter().filter(|(_, amounts)| !amounts.is_empty()) {
            rows += amounts.len() as u64;
            note(tables, *group, amounts)?;
        }
        self.took_any |= rows > 0;
        let is_done = ids.len() < PIECE;
        if let Some(last) = ids.into_iter().next_back() {
            self.after = last;
        }
        Ok(Progress { rows, overflowed: 0, is_done })
    }
}

const NOTE: &str = "INSERT INTO counter_ext.moving (target, ids, amounts) SELECT $1, $2::pg_catalog.text[], $3::pg_catalog.int8[] \
    FROM pg_catalog.set_config('synchronous_commit', 'on', true)";
const DELIVER: &str = "SELECT counter_ext.deliver_moving()";
const MOVE_ROWS: &str = "SELECT m.moved, m.unfinished, m.problem FROM counter_ext.move_rows() AS m";
const LOOK_FOR_ARRIVALS: &str = "SELECT a.arrived, a.problem FROM counter_ext.look_for_arrivals() AS a";

/// Writes amounts down, in the transaction that took them. It is on disk before they are brought anywhere.
fn note(tables: Tables, group: i32, amounts: &[(Id, i64)]) -> Result<(), CounterError> {
    let ids = spi::text_array(amounts.iter().map(|(id, _)| &**id))?;
    let numbers: Vec<String> = amounts.iter().map(|(_, amount)| amount.to_string()).collect();
    let numbers = format!("{{{}}}", numbers.join(","));
    let row = [Parameter::Int(group), Parameter::Text(&ids), Parameter::Text(numbers.as_bytes())];
    as_owner(tables, |confined| Spi::connect(confined)?.run_with(NOTE.as_bytes(), &row))
}

/// Brings what is written down to where it belongs; says what was in the way, if anything.
fn deliver(tables: Tables) -> Result<Option<Vec<u8>>, CounterError> {
    Ok(first_row(tables, DELIVER)?.into_iter().next().flatten())
}

/// What came of moving rows.
struct Moved {
    rows: u64,
    is_unfinished: bool,
    problem: Option<Vec<u8>>,
}

/// Moves some rows of likes, visitors, tokens and sources.
fn move_rows(tables: Tables) -> Result<Moved, CounterError> {
    let row = first_row(tables, MOVE_ROWS)?;
    let mut row = row.into_iter();
    let rows = number(row.next().flatten())?;
    let is_unfinished = number(row.next().flatten())? > 0;
    Ok(Moved { rows, is_unfinished, problem: row.next().flatten() })
}

/// Asks the other nodes, where something of this node's ids may be on one of them.
fn look_for_arrivals(tables: Tables, memory: &mut Memory) -> Result<(), CounterError> {
    let was_asked = memory.unanswered_at.is_some_and(|at| at.elapsed() < RETRY_INTERVAL);
    if was_asked || !owners::are_arriving()? {
        return Ok(());
    }
    let row = first_row(tables, LOOK_FOR_ARRIVALS)?;
    let mut row = row.into_iter();
    if number(row.next().flatten())? > 0 {
        owners::announce_arrivals();
    }
    let problem = row.next().flatten();
    memory.unanswered_at = problem.as_ref().map(|_| Instant::now());
    if let Some(problem) = problem {
        let reason = errors::text(&problem);
        pgrx::log!(
            "counter_ext: whether other nodes have something left of this node's counters is not known yet: {reason}"
        );
    }
    Ok(())
}

fn first_row(tables: Tables, query: &str) -> Result<Vec<Option<Vec<u8>>>, CounterError> {
    let rows = as_owner(tables, |confined| Spi::connect(confined)?.changing_rows(query.as_bytes()))?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn number(text: Option<Vec<u8>>) -> Result<u64, CounterError> {
    Ok(text.map_or(Ok(0), |text| spi::whole_number(&text))? as u64)
}
