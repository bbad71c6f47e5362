//! Has the linker call ours where pgrx calls two of PostgreSQL's functions, and Rust's standard library one of glibc's: see
//! `src/pg/error_memory.rs` and `src/pg/allocator.rs`. And has it keep the section in which pgrx describes the SQL surface:
//! nothing refers to it, so it would be collected as garbage, and `cargo pgrx schema` reads it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Apple's linker has no such option; there pgrx's own way is left as it is.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("macos") {
        for function in ["CopyErrorData", "errstart"] {
            println!("cargo:rustc-link-arg=-Wl,--wrap={function}");
        }
        println!("cargo:rustc-link-arg-cdylib=-Wl,--wrap=__cxa_thread_atexit_impl");
        println!("cargo:rustc-link-arg-cdylib=-Wl,--no-gc-sections");
    }
}
