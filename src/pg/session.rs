//! What a session keeps for itself: statics of its process, declared by `session_local!` as `thread_local!` would.
//!
//! PostgreSQL calls this library from one thread of its process, so a thread-local holds nothing more. In a shared library each
//! access to one calls the dynamic linker (`__tls_get_addr` on x86-64), thirty times an increment: 1.7 % of the instructions of one.
//! Unit tests run beside each other in threads of one process; there it is `thread_local!`.

#[cfg(not(test))]
pub use process::{Begun, SessionLocal};

/// Declares what a session keeps: each `static NAME: TYPE = VALUE;` is begun where it is first used, one with `const { VALUE }`
/// is there from the beginning. What it is worth is read and changed as that of a `std::thread::LocalKey`. VALUE does not come back to NAME.
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
        $scope static $name: $crate::pg::session::SessionLocal<$crate::pg::session::Begun<$kept>> =
            $crate::pg::session::SessionLocal::new($crate::pg::session::Begun::by(|| $value));
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
    use std::cell::{Cell, OnceCell, RefCell};
    use std::ops::Deref;

    pub struct SessionLocal<Kept>(Kept);

    // SAFETY: nobody shares it. PostgreSQL calls this library from the one thread that runs its own code, also where another library
    // has begun threads (pgrx refuses calls from those); nothing in this library begins one (tests/house). Handlers of signals
    // that are ours come to none of it.
    unsafe impl<Kept> Sync for SessionLocal<Kept> {}

    /// What is begun where it is first used; where that raised an error, it is tried again, which a `LazyCell` would not.
    pub struct Begun<T> {
        kept: OnceCell<T>,
        begin: fn() -> T,
    }

    impl<T> Begun<T> {
        /// For `session_local!`.
        pub const fn by(begin: fn() -> T) -> Self {
            Begun { kept: OnceCell::new(), begin }
        }
    }

    impl<T> Deref for Begun<T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.kept.get_or_init(self.begin)
        }
    }

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

    impl<T> SessionLocal<Begun<T>> {
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
    borrowed!(T, Begun<RefCell<T>>);

    impl<T: Default> SessionLocal<RefCell<T>> {
        pub fn take(&self) -> T {
            self.0.take()
        }
    }
}
