//! Signals, and the process table as /proc shows it: after the postmaster is killed nobody else
//! knows its children.

use crate::installation::{Installation, run};
use crate::wait;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::time::Duration;

/// Sends a signal; a process that is gone already is not an error.
pub fn signal(pid: i32, signal: Signal) {
    let target = Pid::from_raw(pid).unwrap_or_else(|| panic!("not a process id: {pid}"));
    match kill_process(target, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("signal {signal:?} to {pid}: {error}"),
    }
}

/// Stops a process, and waits until it stands still: for a moment after the signal it may still fork.
pub fn halt(pid: i32) {
    signal(pid, Signal::STOP);
    wait::until("the process stands still", Duration::from_secs(60), || {
        state_and_parent(pid).is_none_or(|(state, _)| ['T', 'Z'].contains(&state))
    });
}

/// A process that stands still and goes on when this is dropped, also in a panic: else whoever waits for it waits for ever.
pub struct Halted(i32);

impl Halted {
    pub fn new(pid: i32) -> Halted {
        halt(pid);
        Halted(pid)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

/// State letter and parent of a process, from `/proc/PID/stat`.
fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may itself contain blanks and parentheses.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub fn children(parent: i32) -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| state_and_parent(pid).is_some_and(|(_, found)| found == parent))
        .collect()
}

/// What a process of PostgreSQL says that it is, as `ps` shows it; nothing, where it is gone.
pub(crate) fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Zombies do not count: they hold neither memory nor files.
pub fn is_running(pid: i32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Bytes of address space that a process uses.
fn address_space(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process to look at");
    let pages: u64 = status.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a size in pages");
    pages * rustix::param::page_size() as u64
}

/// Lets a process of the server allocate no more than this many bytes beyond what it has; `None`: as much as it wants.
pub fn limit_memory(pid: i32, more_bytes: Option<u64>) {
    let limit = more_bytes.map_or("unlimited".to_owned(), |more| (address_space(pid) + more).to_string());
    // As the server's user: root without all its capabilities may not do it to others.
    let mut prlimit = Installation::get().tool("prlimit");
    run(prlimit.arg(format!("--pid={pid}")).arg(format!("--as={limit}:")));
}
