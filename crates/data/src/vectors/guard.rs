//! Panics inside the Arrow and Parquet crates, as errors.
//!
//! Both crates report most damage and panic at some. What makes them panic is damage as well, so the panic is caught;
//! but before it can be, Rust's panic hook prints a line, and a hook belongs to the whole program. A library does not
//! replace it behind the program's back, so the program asks: [`hush_caught_panics`].

use super::VectorFileError;
use super::source::Source;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that are caught, and reported as damage of a file, from being printed.
///
/// For programs, once, at their start: it puts a panic hook in front of the one there is, which goes on seeing all
/// other panics, those of this crate's own code included. Without it damaged Parquet and Arrow files are refused all
/// the same, after a line or two about a panic on stderr. A library does not call this.
///
/// # Panics
/// On a thread that is panicking.
pub fn hush_caught_panics() {
    let before = take_hook();
    set_hook(Box::new(move |about| {
        // A panic in this crate is a mistake of this crate's, and shall be heard.
        let own = &file!()[..file!().len() - "vectors/guard.rs".len()];
        let ours = about.location().is_some_and(|place| place.file().starts_with(own));
        // The flag is gone while a thread ends.
        if ours || !GUARDED.try_with(Cell::get).unwrap_or(false) {
            before(about);
        }
    }));
}

/// Runs a part of the Arrow and Parquet crates that sees bytes of the file.
pub(super) fn guarded<T, E: std::fmt::Display>(
    source: &Source,
    what: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, VectorFileError> {
    let outer = GUARDED.replace(true);
    // What `work` may leave half done belongs to the reader that is dropped with the error.
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let text = error.to_string().replace('\n', " ");
            Err(source.damaged(format!("{what}: {text}")))
        }
        Err(_) => Err(source.damaged(format!("{what} contradicts itself"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static HEARD: Cell<usize> = const { Cell::new(0) };
    }

    /// Panics inside `arrow-buffer`: there is no such part of a buffer.
    fn theirs() -> Result<usize, String> {
        Ok(arrow_buffer::Buffer::from(vec![1u8]).slice(5).len())
    }

    fn ours() -> Result<usize, String> {
        panic!("a mistake in this crate")
    }

    #[test]
    fn only_caught_panics_of_others_are_hushed() {
        // Hooks are the whole program's: this one counts by threads and passes the panics of other tests on.
        let before = take_hook();
        let test = std::thread::current().id();
        set_hook(Box::new(move |about| {
            HEARD.set(HEARD.get() + 1);
            if std::thread::current().id() != test {
                before(about);
            }
        }));
        let source = Source::memory("file", Vec::new());
        let caught = |work: fn() -> Result<usize, String>| {
            let error = guarded(&source, "a page", work).unwrap_err();
            assert_eq!(error.to_string(), "file: a page contradicts itself");
            HEARD.replace(0)
        };
        let unasked = caught(theirs);
        hush_caught_panics();
        let asked = [caught(theirs), caught(ours)];
        let not_caught = catch_unwind(theirs).is_err().then(|| HEARD.replace(0));
        let inner = guarded(&source, "a page", || guarded(&source, "a page", || Ok::<_, String>(1)));
        assert_eq!(inner.unwrap(), 1);
        // Without the hooks a failure of this test is shown too.
        drop(take_hook());
        assert_eq!((unasked, asked, not_caught), (1, [0, 1], Some(1)));
    }
}
