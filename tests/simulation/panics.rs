//! Panics of tasks that nobody waits for, by thread: a world runs on one.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Forgets what panicked on this thread, and takes note from now on.
pub(crate) fn forget() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            LAST.set(Some(info.to_string()));
            before(info);
        }));
    });
    LAST.set(None);
}

/// What panicked last on this thread.
pub(crate) fn last() -> Option<String> {
    LAST.take()
}
