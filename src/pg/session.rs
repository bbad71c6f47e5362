//! What a session keeps for itself: statics of its process, declared by `session_local!` as `thread_local!` would.
//!
//! A process of PostgreSQL has one thread, so a thread-local holds nothing more. In a shared library each access to one calls
//! the dynamic linker (`__tls_get_addr`), thirty times an increment: 1.5 % of all that a session computes for one.
//! Unit tests run beside each other in threads of one process; there it is `thread_local!`.

#[cfg(not(test))]
pub use process::SessionLocal;

/// Declares what a session keeps: each `static NAME: TYPE = VALUE;` is begun where it is first used, one with `const { VALUE }`
/// is there from the beginning. What it is worth is read and changed as that of a `std::thread::LocalKey`.
#[cfg(not(test))]
macro_rules! session_local {
    () => {};
    ($(#[$attribute:meta])* $scope:vis static $name:ident: $kept:ty = const $value:block; $($rest:tt)*) => {
        $(#[$attribute])*
        $scope static $name: $crate::pg::session::SessionLocal<$kept> =
            $crate::pg::session::SessionLocal::new($value);
        $crate::pg::session::session_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $scope:vis static $name:ident: $kept:ty = $value:expr; $($rest:tt)*) => {
        $(#[$attribute])*
        $scope static $name: $crate::pg::session::SessionLocal<std::cell::LazyCell<$kept>> =
            $crate::pg::session::SessionLocal::new(std::cell::LazyCell::new(|| $value));
        $crate::pg::session::session_local!($($rest)*);
    };
}
#[cfg(not(test))]
pub(crate) use session_local;

#[cfg(test)]
pub use std::thread::LocalKey as SessionLocal;
#[cfg(test)]
pub(crate) use std::thread_local as session_local;

#[cfg(not(test))]
mod process {
    use std::cell::{Cell, LazyCell, RefCell};

    pub struct SessionLocal<Kept>(Kept);

    // SAFETY: nobody shares it. The postmaster and each process that it starts have one thread, nothing in this library
    // begins another (tests/house), and no handler of a signal comes here.
    unsafe impl<Kept> Sync for SessionLocal<Kept> {}

    impl<Kept> SessionLocal<Kept> {
        /// For `session_local!`.
        pub const fn new(kept: Kept) -> Self {
            SessionLocal(kept)
        }
    }

    impl<T> SessionLocal<Cell<T>> {
        pub fn set(&self, value: T) {
            self.0.set(value);
        }

        pub fn replace(&self, value: T) -> T {
            self.0.replace(value)
        }
    }

    impl<T: Copy> SessionLocal<Cell<T>> {
        pub fn get(&self) -> T {
            self.0.get()
        }
    }

    impl<T: Default> SessionLocal<Cell<T>> {
        pub fn take(&self) -> T {
            self.0.take()
        }
    }

    impl<T> SessionLocal<LazyCell<T>> {
        pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
            look(&self.0)
        }
    }

    /// What a `RefCell` can, whether it is there from the beginning or not.
    macro_rules! borrowed {
        ($kept:ident, $cell:ty) => {
            impl<$kept> SessionLocal<$cell> {
                pub fn with_borrow<R>(&self, look: impl FnOnce(&$kept) -> R) -> R {
                    look(&self.0.borrow())
                }

                pub fn with_borrow_mut<R>(&self, change: impl FnOnce(&mut $kept) -> R) -> R {
                    change(&mut self.0.borrow_mut())
                }

                pub fn set(&self, value: $kept) {
                    self.0.replace(value);
                }
            }
        };
    }
    borrowed!(T, RefCell<T>);
    borrowed!(T, LazyCell<RefCell<T>>);

    impl<T: Default> SessionLocal<RefCell<T>> {
        pub fn take(&self) -> T {
            self.0.take()
        }
    }
}
