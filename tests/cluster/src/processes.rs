//! Signals, and the process table as /proc shows it: after the postmaster is killed nobody else
//! knows its children.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Sends a signal; a process that is gone already is not an error.
pub fn signal(pid: i32, signal: Signal) {
    let target = Pid::from_raw(pid).unwrap_or_else(|| panic!("not a process id: {pid}"));
    match kill_process(target, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("signal {signal:?} to {pid}: {error}"),
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

/// Zombies do not count: they hold neither memory nor files.
pub fn is_running(pid: i32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}
