//! The gateway's own program against a throwaway server, and its page in a browser.

mod page;
mod serving;
mod streams;
mod support;
mod visitors;
