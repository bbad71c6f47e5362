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
//! it has nothing of it any more (`move_rows`, `look_for_arrivals` in sql/sharding.sql). A node notes the shard first, then the transactions that
//! have a table of these rows locked; those that lock one later know of the move. Once they have ended, and that is on disk, it moves the rows, and
//! calls the shard empty when it finds none. All of that is kept in tables and flushed, with the placement that is meant: a crash between any two
//! steps leaves a shard that is waited for, never one that has arrived too early. After a restart any prepared transaction may be one of those.
//!
//! Whoever answers another node may need what this one holds, so what asks one is done without the locks of a pass.
//!
//! BOUND: as many ids as one piece.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::counting::leaving;
use crate::errors::{self, CounterError};
use crate::family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::{epochs, statistics};
use crate::owners;
use crate::owners::ranges::Owner;
use crate::pg::session::session_local;
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
/// How soon a node that has just said something new is asked again.
const SHORTEST_ASK_INTERVAL: Duration = Duration::from_millis(300);

pub const MOVE: Step = Step {
    name: "moving counters to the nodes that have them now",
    every: Duration::ZERO,
    is_essential: false,
    begin: || {
        Box::new(Moving {
            at: Phase::Asking,
            after: Id::default(),
            took_any: false,
            has_walked: false,
            has_missed: false,
        })
    },
};

/// What the worker remembers from pass to pass.
#[derive(Clone, Copy)]
struct Memory {
    times_moved: u64,
    changed_at: Instant,
    walked_at: Option<Instant>,
    /// When rows could not be moved.
    failed_at: Option<Instant>,
    /// When a batch could not be brought.
    undelivered_at: Option<Instant>,
    /// When the other nodes were last asked what they have of this node's shards, and how long they are left alone then.
    asked_at: Option<Instant>,
    ask_interval: Duration,
    /// There may be rows here of other nodes' shards.
    is_unfinished: bool,
    /// Another node may have rows of this node's shards.
    is_waiting: bool,
}

impl Memory {
    fn of_new_places(times_moved: u64) -> Memory {
        Memory {
            times_moved,
            changed_at: Instant::now(),
            walked_at: None,
            failed_at: None,
            undelivered_at: None,
            asked_at: None,
            ask_interval: SHORTEST_ASK_INTERVAL,
            is_unfinished: true,
            is_waiting: true,
        }
    }

    fn has_just_failed(&self) -> bool {
        is_recent(self.failed_at, RETRY_INTERVAL)
    }

    /// Whether all ids are to be looked at.
    fn walk_is_due(&self) -> bool {
        self.changed_at.elapsed() < UNQUIET || !is_recent(self.walked_at, WALK_INTERVAL)
    }
}

fn is_recent(at: Option<Instant>, within: Duration) -> bool {
    at.is_some_and(|at| at.elapsed() < within)
}

session_local! {
    static MEMORY: Cell<Option<Memory>> = const { Cell::new(None) };
}

/// What the next piece does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asks what other nodes have of this node's shards.
    Asking,
    /// Brings amounts that were taken.
    Delivering,
    /// Takes amounts.
    Walking,
    /// Moves rows.
    Rows,
}

struct Moving {
    at: Phase,
    after: Id,
    took_any: bool,
    /// In this pass all ids are looked at.
    has_walked: bool,
    /// Some of them could not be: somebody holds what it takes.
    has_missed: bool,
}

const DONE: Progress = Progress { rows: 0, overflowed: 0, is_done: true };
const GOES_ON: Progress = Progress { rows: 0, overflowed: 0, is_done: false };

impl Work for Moving {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        // What is taken has to be committed before it is brought anywhere, so this is the worker's.
        if how.waits || !owners::are_spread()? {
            MEMORY.set(None);
            return Ok(DONE);
        }
        let mut memory = remembered();
        let progress = self.piece(tables, &mut memory);
        MEMORY.set(Some(memory));
        progress
    }

    fn asks_others(&self) -> bool {
        self.at != Phase::Walking
    }

    fn expects_more(&self) -> bool {
        // What takes longer, as where a node is away, is looked at in the passes of an idle worker.
        MEMORY.get().is_some_and(|memory| {
            !memory.has_just_failed()
                && memory.changed_at.elapsed() < UNQUIET
                && (memory.is_unfinished || memory.is_waiting)
        })
    }
}

/// What is remembered, brought up to date with the cluster.
fn remembered() -> Memory {
    let times_moved = owners::times_moved();
    MEMORY
        .get()
        .filter(|memory| memory.times_moved == times_moved)
        .unwrap_or_else(|| Memory::of_new_places(times_moved))
}

impl Moving {
    fn piece(&mut self, tables: Tables, memory: &mut Memory) -> Result<Progress, CounterError> {
        match self.at {
            Phase::Asking => {
                look_for_arrivals(tables, memory)?;
                self.at = Phase::Delivering;
                Ok(GOES_ON)
            }
            Phase::Delivering => {
                // Batches that cannot be brought keep nothing else from moving.
                if !is_recent(memory.undelivered_at, RETRY_INTERVAL) {
                    let Delivered { goes_on, problem } = deliver(tables)?;
                    memory.undelivered_at = problem.as_ref().map(|_| Instant::now());
                    if let Some(problem) = &problem {
                        let reason = errors::text(problem);
                        if is_new("moving counters", &reason) {
                            pgrx::warning!(
                                "counter_ext: counters could not be moved to another node, will retry: {reason}"
                            );
                        }
                    }
                    if goes_on && problem.is_none() {
                        return Ok(GOES_ON);
                    }
                }
                if self.took_any || memory.has_just_failed() {
                    return Ok(DONE);
                }
                self.has_walked = memory.walk_is_due();
                self.at = if self.has_walked { Phase::Walking } else { Phase::Rows };
                Ok(if self.has_walked || memory.is_unfinished { GOES_ON } else { DONE })
            }
            Phase::Walking => {
                let progress = self.walk(tables)?;
                if progress.is_done {
                    self.at = Phase::Rows;
                }
                Ok(Progress { is_done: false, ..progress })
            }
            Phase::Rows => self.move_rows(tables, memory),
        }
    }

    fn move_rows(&mut self, tables: Tables, memory: &mut Memory) -> Result<Progress, CounterError> {
        let was_unfinished = memory.is_unfinished;
        let moved = move_rows(tables, !self.has_walked)?;
        memory.is_unfinished = moved.is_unfinished;
        if moved.unwanted > 0 {
            pgrx::warning!(
                "counter_ext: {} likes or offsets of sources were left out: they came once everything of their shards had arrived",
                moved.unwanted
            );
        }
        if let Some(problem) = moved.problem {
            memory.failed_at = Some(Instant::now());
            // What has been moved stays so: this is not for the error of a step, which would take it back.
            let reason = errors::text(&problem);
            if is_new("moving rows", &reason) {
                pgrx::warning!("counter_ext: rows could not be moved to another node, will retry: {reason}");
            }
            return Ok(DONE);
        }
        if moved.rows > 0 || moved.goes_on {
            return Ok(Progress { rows: moved.rows, ..GOES_ON });
        }
        if self.has_walked {
            if !self.has_missed {
                memory.walked_at = Some(Instant::now());
            }
        } else if was_unfinished && !moved.is_unfinished {
            // Those who went by an old place may have counted too: all ids are looked at in the next pass.
            memory.walked_at = None;
        }
        self.at = Phase::Delivering;
        Ok(if self.took_any { GOES_ON } else { DONE })
    }

    /// Takes what there is of the next ids that are not this node's.
    fn walk(&mut self, tables: Tables) -> Result<Progress, CounterError> {
        let database = u32::from(catalog::my_database());
        let recovered = epochs::recovered(database, u32::from(tables.total));
        let Some(recovered) = recovered.filter(|_| family::try_lock_to_drop(tables)) else {
            self.has_missed = true;
            return Ok(DONE);
        };
        let ids = leaving::ids_after(tables, &self.after, PIECE)?;
        let mut taken: Vec<(i32, Vec<(Id, i64)>)> = Vec::new();
        for id in &ids {
            process::check_for_interrupts();
            let Owner::Group(group) = owners::owner(id)? else { continue };
            let at = taken.iter().position(|(other, _)| *other == group).unwrap_or_else(|| {
                taken.push((group, Vec::new()));
                taken.len() - 1
            });
            let was_taken = as_owner(tables, |_| leaving::take(&recovered, tables, id, &mut taken[at].1))?;
            self.has_missed |= !was_taken;
        }
        let mut rows = 0;
        for (group, amounts) in taken {
            rows += amounts.len() as u64;
            for batch in each_id_once(amounts) {
                note(tables, group, &batch)?;
            }
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
const DELIVER: &str = "SELECT d.goes_on, d.problem FROM counter_ext.deliver_moving() AS d";
const MOVE_ROWS: [&str; 2] = [
    "SELECT m.moved, m.unfinished, m.unwanted, m.goes_on, m.problem FROM counter_ext.move_rows(false) AS m",
    "SELECT m.moved, m.unfinished, m.unwanted, m.goes_on, m.problem FROM counter_ext.move_rows(true) AS m",
];
const LOOK_FOR_ARRIVALS: &str = "SELECT a.arrived, a.problem FROM counter_ext.look_for_arrivals() AS a";

/// Batches in which each id stands once: an amount that takes several bigints is out of the range of one transaction, in which a batch is counted.
/// Amounts of one id follow each other.
fn each_id_once(amounts: Vec<(Id, i64)>) -> Vec<Vec<(Id, i64)>> {
    let mut batches: Vec<Vec<(Id, i64)>> = Vec::new();
    for (id, amount) in amounts {
        match batches.iter_mut().find(|batch| batch.last().is_none_or(|(last, _)| *last != id)) {
            Some(batch) => batch.push((id, amount)),
            None => batches.push(vec![(id, amount)]),
        }
    }
    batches
}

/// Writes amounts down, in the transaction that took them. It is on disk before they are brought anywhere.
fn note(tables: Tables, group: i32, amounts: &[(Id, i64)]) -> Result<(), CounterError> {
    let ids = spi::text_array(amounts.iter().map(|(id, _)| &**id))?;
    let numbers: Vec<String> = amounts.iter().map(|(_, amount)| amount.to_string()).collect();
    let numbers = format!("{{{}}}", numbers.join(","));
    let row = [Parameter::Int(group), Parameter::Text(&ids), Parameter::Text(numbers.as_bytes())];
    as_owner(tables, |confined| Spi::connect(confined)?.run_with(NOTE.as_bytes(), &row))
}

/// What came of bringing batches.
struct Delivered {
    /// There are more for nodes that took some.
    goes_on: bool,
    problem: Option<Vec<u8>>,
}

/// Brings what is written down to where it belongs.
fn deliver(tables: Tables) -> Result<Delivered, CounterError> {
    let mut row = first_row(tables, DELIVER)?.into_iter();
    let mut next = || row.next().flatten();
    Ok(Delivered { goes_on: next().as_deref() == Some(b"t"), problem: next() })
}

/// What came of moving rows.
struct Moved {
    rows: u64,
    is_unfinished: bool,
    /// Rows that the other node did not take in, since it has later ones.
    unwanted: u64,
    /// There is more to be done at once.
    goes_on: bool,
    problem: Option<Vec<u8>>,
}

/// Moves some rows of likes, visitors, tokens and sources; `only_if_free`: if nobody goes by an old place any more.
fn move_rows(tables: Tables, only_if_free: bool) -> Result<Moved, CounterError> {
    let mut row = first_row(tables, MOVE_ROWS[usize::from(only_if_free)])?.into_iter();
    let mut next = || row.next().flatten();
    Ok(Moved {
        rows: number(next())?,
        is_unfinished: number(next())? > 0,
        unwanted: number(next())?,
        goes_on: next().as_deref() == Some(b"t"),
        problem: next(),
    })
}

/// Asks the other nodes, where something of this node's ids may be on one of them: less often the longer they say nothing new.
fn look_for_arrivals(tables: Tables, memory: &mut Memory) -> Result<(), CounterError> {
    memory.is_waiting = owners::are_arriving()?;
    if !memory.is_waiting || is_recent(memory.asked_at, memory.ask_interval) {
        return Ok(());
    }
    let mut row = first_row(tables, LOOK_FOR_ARRIVALS)?.into_iter();
    let has_news = number(row.next().flatten())? > 0;
    if has_news {
        owners::announce_arrivals();
    }
    let problem = row.next().flatten();
    memory.asked_at = Some(Instant::now());
    memory.ask_interval = match (&problem, has_news) {
        (Some(_), _) => RETRY_INTERVAL,
        (None, true) => SHORTEST_ASK_INTERVAL,
        (None, false) => (memory.ask_interval * 2).min(RETRY_INTERVAL),
    };
    if let Some(problem) = problem {
        let reason = errors::text(&problem);
        pgrx::log!(
            "counter_ext: whether other nodes have something left of this node's counters is not known yet: {reason}"
        );
    }
    Ok(())
}

/// Notes what was in the way, as a worker's error. Returns whether it deserves a line in the log.
fn is_new(what: &str, reason: &str) -> bool {
    statistics::note_error(u32::from(catalog::my_database()), &format!("{what}: {reason}"))
}

fn first_row(tables: Tables, query: &str) -> Result<Vec<Option<Vec<u8>>>, CounterError> {
    let rows = as_owner(tables, |confined| Spi::connect(confined)?.changing_rows(query.as_bytes()))?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn number(text: Option<Vec<u8>>) -> Result<u64, CounterError> {
    Ok(text.map_or(Ok(0), |text| spi::whole_number(&text))? as u64)
}
