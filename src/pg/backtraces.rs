//! Rust's backtraces stay in the server.

use std::backtrace::Backtrace;

/// Turns backtraces off for this library, whatever the server's environment says.
///
/// pgrx takes a backtrace with every error that passes through it and sends it to the client as DETAIL, if `RUST_BACKTRACE` is
/// set where the server was started. It would tell anybody how the server is built and where. The standard library looks at
/// the environment once and remembers what it found: so it is shown a variable that says no, which then goes away again.
pub fn turn_off() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(VARIABLE);
    // SAFETY: the library is being loaded: the process has one thread, and nobody else looks at its environment.
    unsafe { std::env::set_var(VARIABLE, "0") };
    drop(Backtrace::capture());
    // SAFETY: as above.
    unsafe {
        match before {
            Some(value) => std::env::set_var(VARIABLE, value),
            None => std::env::remove_var(VARIABLE),
        }
    }
}
