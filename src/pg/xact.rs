//! Transaction state and callbacks.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::unguarded;

/// What the extension does as a transaction ends. `commit`, `abort` and `prepared` run where nothing may fail.
pub struct Hooks {
    /// Whose these are: `pre_commit` and `commit` are called where he has joined the transaction, all others always.
    pub participant: Participant,
    /// Whether there is nothing that `pre_commit` and `commit` would do: debug builds look, where he has not joined.
    pub is_idle: fn() -> bool,
    pub pre_commit: fn(),
    pub commit: fn(),
    pub abort: fn(),
    pub pre_prepare: fn(),
    pub prepared: fn(),
    /// Nest level of the savepoint that was released; the top transaction is level 1.
    pub savepoint_released: fn(u32),
    pub savepoint_rolled_back: fn(u32),
}

/// Who has something to do when a transaction commits. Most transactions of a server have nothing to do with us, and most of ours with
/// one family: they are not to pay for all, a few pages of code and of data each time that a process has the processor again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Participant {
    /// Counters: what is pending, locks of tables and ids, what was noted as changed.
    Counting = 1,
    Visitors = 2,
    Caches = 4,
    Boards = 8,
    /// The setting that holds for one transaction.
    Setting = 16,
}

session_local! {
    /// Who has joined the running transaction, as a sum.
    static JOINED: Cell<u32> = const { Cell::new(0) };
    /// Who joins each one.
    static STAYING: Cell<u32> = const { Cell::new(0) };
    /// PRE_COMMIT has begun, or PRE_PREPARE.
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };
    /// Run once, when the running transaction has ended, or a savepoint was rolled back.
    static AT_END: Cell<Option<fn(Ending)>> = const { Cell::new(None) };
}

/// How what was under way has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Committed,
    /// Aborted, rolled back to a savepoint, or prepared.
    Otherwise,
}

/// Calls `callback` once, when the running transaction has ended or one of its savepoints was rolled back. It may not fail.
pub fn at_end(callback: fn(Ending)) {
    AT_END.set(Some(callback));
}

/// Has the running transaction's end told to this participant. It is called by whoever leaves something behind that ends with the transaction.
pub fn join(participant: Participant) {
    JOINED.set(JOINED.get() | participant as u32);
}

/// Has the ends of this and of all further transactions told to this participant, or no longer.
pub fn stay(participant: Participant, stays: bool) {
    let others = STAYING.get() & !(participant as u32);
    STAYING.set(if stays { others | participant as u32 } else { others });
    join(participant);
}

/// Whether the running transaction is already being committed or prepared: what comes now would be in none of its rows.
pub fn is_ending() -> bool {
    IS_ENDING.get()
}

static HOOKS: OnceLock<&'static [&'static Hooks]> = OnceLock::new();

/// Registers the hooks, called in this order, for all transactions of this process and of those it forks.
pub fn register(hooks: &'static [&'static Hooks]) {
    if HOOKS.set(hooks).is_ok() {
        // SAFETY: the callbacks have PostgreSQL's signatures and live as long as the process.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_xact), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subxact), std::ptr::null_mut());
        }
    }
}

/// Called at the end of every transaction of every session. Nothing here can fail but `tell`, which is guarded.
extern "C-unwind" fn on_xact(event: pg_sys::XactEvent::Type, arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    if matches!(event, XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE) {
        IS_ENDING.set(true);
    }
    // Of a commit only those who have joined are told; of the rest everybody.
    let is_commit = matches!(event, XACT_EVENT_PRE_COMMIT | XACT_EVENT_COMMIT);
    if !is_commit || JOINED.get() != 0 || AT_END.get().is_some() || cfg!(debug_assertions) {
        tell(event, arg);
    } else if event == XACT_EVENT_COMMIT {
        IS_ENDING.set(false);
    }
}

#[pg_guard]
extern "C-unwind" fn tell(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    // Who joins from now on is told of the next transaction's end too.
    let is_over = matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE);
    let joined = if is_over { JOINED.take() } else { 0 };
    for hooks in *HOOKS.get().unwrap_or(&[].as_slice()) {
        // Before that one participant may have another one join.
        let has_joined = (joined | JOINED.get()) & hooks.participant as u32 != 0;
        match event {
            XACT_EVENT_PRE_COMMIT | XACT_EVENT_COMMIT if !has_joined => {
                debug_assert!(
                    (hooks.is_idle)(),
                    "{:?} has something to do, and has not joined",
                    hooks.participant
                );
            }
            XACT_EVENT_PRE_COMMIT => (hooks.pre_commit)(),
            XACT_EVENT_COMMIT => (hooks.commit)(),
            XACT_EVENT_ABORT => (hooks.abort)(),
            XACT_EVENT_PRE_PREPARE => (hooks.pre_prepare)(),
            XACT_EVENT_PREPARE => (hooks.prepared)(),
            _ => {}
        }
    }
    let ending = match event {
        XACT_EVENT_COMMIT => Ending::Committed,
        XACT_EVENT_ABORT | XACT_EVENT_PREPARE => Ending::Otherwise,
        _ => return,
    };
    JOINED.set(JOINED.get() | STAYING.get());
    IS_ENDING.set(false);
    end(ending);
}

fn end(ending: Ending) {
    if let Some(callback) = AT_END.take() {
        callback(ending);
    }
}

#[pg_guard]
extern "C-unwind" fn on_subxact(
    event: pg_sys::SubXactEvent::Type,
    _my_subid: pg_sys::SubTransactionId,
    _parent_subid: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    for hooks in *HOOKS.get().unwrap_or(&[].as_slice()) {
        match event {
            SUBXACT_EVENT_COMMIT_SUB => (hooks.savepoint_released)(nest_level()),
            SUBXACT_EVENT_ABORT_SUB => (hooks.savepoint_rolled_back)(nest_level()),
            _ => {}
        }
    }
    if event == SUBXACT_EVENT_ABORT_SUB {
        end(Ending::Otherwise);
    }
}

/// 1 in the top transaction, one more a savepoint.
pub fn nest_level() -> u32 {
    // SAFETY: a plain read of transaction state.
    unsafe { unguarded::GetCurrentTransactionNestLevel() as u32 }
}

/// This transaction's id, assigned now if it has none yet.
pub fn assign_xid() -> u32 {
    // SAFETY: called inside a transaction that may write.
    unsafe { pg_sys::GetTopTransactionId() }.into_inner()
}

/// As `assign_xid`, with the epoch: a number that never comes again.
pub fn full_xid() -> u64 {
    // SAFETY: called inside a transaction that may write.
    unsafe { pg_sys::GetTopFullTransactionId() }.value
}

/// Whether this transaction has an id.
pub fn has_xid() -> bool {
    // SAFETY: a plain read of transaction state.
    unsafe { unguarded::GetTopTransactionIdIfAny() }.into_inner() != 0
}

/// Whether the id is that of this transaction.
pub fn is_own(xid: u32) -> bool {
    // SAFETY: a plain read of transaction state.
    unsafe { unguarded::GetTopTransactionIdIfAny() }.into_inner() == xid
}

/// Whether a transaction that is over committed.
pub fn did_commit(xid: u32) -> bool {
    // SAFETY: looks into the commit log; the transaction is recent.
    unsafe { pg_sys::TransactionIdDidCommit(pg_sys::TransactionId::from(xid)) }
}

/// When the transaction began, as `now()`, in microseconds since 2000-01-01.
pub fn start_us() -> i64 {
    // SAFETY: a plain read of transaction state.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// When the running statement came in, in microseconds since 2000-01-01.
pub fn statement_start_us() -> i64 {
    // SAFETY: a plain read of a backend variable.
    unsafe { unguarded::GetCurrentStatementStartTimestamp() }
}

/// Makes this command's own row changes visible to what follows in the transaction.
pub fn see_own_changes() {
    // SAFETY: called inside a transaction, outside parallel mode.
    unsafe { pg_sys::CommandCounterIncrement() }
}

/// The number of the command that this transaction is at: changes of earlier ones are visible to it.
pub fn current_command() -> u32 {
    // SAFETY: a plain read of transaction state.
    unsafe { pg_sys::GetCurrentCommandId(false) }
}

/// `READ ONLY` transaction; always so during recovery.
pub fn is_read_only() -> bool {
    // SAFETY: a plain read of a backend variable.
    unsafe { pg_sys::XactReadOnly }
}

/// A parallel worker, or a leader while its workers run.
pub fn is_parallel() -> bool {
    // SAFETY: a plain read of transaction state.
    unsafe { unguarded::IsInParallelMode() }
}

/// Whether what this session writes comes from another server: an apply worker's transaction, or one that says so.
pub fn is_replicating() -> bool {
    // SAFETY: plain reads of backend state.
    unsafe { pg_sys::IsLogicalWorker() || pg_sys::replorigin_session_origin != 0 }
}

/// A standby, or a server that is still recovering.
pub fn in_recovery() -> bool {
    // SAFETY: a plain read of shared state.
    unsafe { unguarded::RecoveryInProgress() }
}

/// Runs a transaction of a background worker, confined: the database's owner may have set search_path for all who connect.
/// An error aborts the transaction and comes back as its message.
pub fn run_in_worker<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    run_bare_in_worker(|| {
        let active = super::snapshot::ActiveSnapshot::push();
        let value = super::confined::as_caller(|_| work());
        drop(active);
        value
    })
}

/// As `run_in_worker`, not confined and without an active snapshot: for commands of PostgreSQL's own that end the transaction and begin
/// another one.
pub(super) fn run_bare_in_worker<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    use std::panic::AssertUnwindSafe;
    // SAFETY: a background worker connected to a database, outside any transaction. The isolation level and
    // writability are set by hand since the database's defaults must not decide about ours.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        pg_sys::XactReadOnly = unguarded::RecoveryInProgress();
    }
    let result = PgTryBuilder::new(AssertUnwindSafe(|| {
        let value = work();
        // SAFETY: ends the transaction started above, or the one that came after it.
        unsafe { pg_sys::CommitTransactionCommand() };
        Ok(value)
    }))
    .catch_others(|cause| Err(message_of(&cause)))
    .catch_rust_panic(|cause| Err(message_of(&cause)))
    .execute();
    if result.is_err() {
        // SAFETY: the transaction started above is still open, or already half aborted; both are allowed.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    result
}

/// As `run_in_worker`, in a process that is about to end, whatever it was doing.
pub fn run_at_exit<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // SAFETY: called before shared memory is given up, as when temporary tables are removed.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    run_in_worker(work)
}

/// Its bytes are in the database's encoding: what is not UTF-8 is shown by its number.
fn message_of(cause: &pg_sys::panic::CaughtError) -> String {
    use pg_sys::panic::CaughtError::*;
    let (PostgresError(report) | ErrorReport(report) | RustPanic { ereport: report, .. }) = cause;
    report.message().as_bytes().utf8_chunks().fold(String::new(), |message, chunk| {
        let bytes = chunk.invalid().iter();
        bytes.fold(message + chunk.valid(), |message, byte| message + &format!("\\x{byte:02x}"))
    })
}

/// Runs `work` in a memory context of its own, which is freed with all that was palloc'd in it. After an error
/// the context goes with the transaction.
pub fn in_scratch_memory<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: a child of the current context, made and deleted here; nothing palloc'd inside escapes, since
    // every caller returns Rust-owned values.
    unsafe {
        let parent = pg_sys::CurrentMemoryContext;
        let scratch = pg_sys::AllocSetContextCreateExtended(
            parent,
            c"counter_ext scratch".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
        pg_sys::CurrentMemoryContext = scratch;
        let value = work();
        pg_sys::CurrentMemoryContext = parent;
        pg_sys::MemoryContextDelete(scratch);
        value
    }
}
