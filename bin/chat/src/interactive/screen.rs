//! [`Screen`]: where lines appear by themselves, above the one being typed.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::input::Printer;

/// A terminal that a person types at while others write. Clones share it.
#[derive(Clone)]
pub(super) struct Screen {
    printer: Arc<Mutex<Option<Printer>>>,
    person: Arc<watch::Sender<Person>>,
}

/// What the person at the terminal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// Types a line, since then.
    Types(Instant),
    /// Waits for what a command does.
    Waits,
    /// Types a password; nothing may appear.
    TypesPassword,
}

impl Screen {
    /// Without a printer lines appear where the cursor is.
    pub(super) fn new(printer: Option<Printer>) -> Self {
        Self {
            printer: Arc::new(Mutex::new(printer)),
            person: Arc::new(watch::Sender::new(Person::Waits)),
        }
    }

    pub(super) fn person(&self, does: Person) {
        self.person.send_replace(does);
    }

    /// Writes a line, or hands it to the editor to do so.
    pub(super) async fn say(&self, line: String) {
        let mut person = self.person.subscribe();
        let _ = person.wait_for(|person| *person != Person::TypesPassword).await;
        let printer = Arc::clone(&self.printer);
        // The editor takes lines only while it edits.
        let _ = spawn_blocking(move || print(&printer, line)).await;
    }

    /// Waits until what was said at `said` can be seen: the editor has been at work for a while since then. (It does
    /// not tell when it has written what it was handed. If a line has just been entered, that is when the next one is
    /// typed.)
    ///
    /// Cancel safe.
    pub(super) async fn seen(&self, said: Instant) {
        let mut person = self.person.subscribe();
        loop {
            let now = *person.borrow_and_update();
            match now {
                Person::Types(since) => tokio::select! {
                    () = sleep_until(since.max(said) + SEEN_AFTER) => return,
                    _ = person.changed() => {}
                },
                _ => {
                    let _ = person.changed().await;
                }
            }
        }
    }
}

fn print(printer: &Mutex<Option<Printer>>, line: String) {
    let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
    let line = line + "\n";
    // A terminal that is gone shows when the next line is read from it.
    let _ = match printer.as_mut() {
        Some(printer) => printer.print(line).map_err(io::Error::other),
        None => io::stdout().lock().write_all(line.as_bytes()),
    };
}

/// Long for an editor that only waits for keys, short for a person.
const SEEN_AFTER: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn is_seen(screen: &Screen, said: Instant) -> bool {
        timeout(Duration::from_millis(500), screen.seen(said)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_seen_once_the_editor_was_at_work() {
        let screen = Screen::new(None);
        let said = Instant::now();
        assert!(!is_seen(&screen, said).await, "nobody types");
        screen.person(Person::Types(Instant::now()));
        let before = Instant::now();
        screen.seen(said).await;
        assert_eq!(before.elapsed(), SEEN_AFTER);
        screen.person(Person::Waits);
        assert!(!is_seen(&screen, Instant::now()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_editor_that_was_left_too_soon_has_shown_nothing() {
        let screen = Screen::new(None);
        let said = Instant::now();
        screen.person(Person::Types(said));
        let leaving = async {
            tokio::time::sleep(SEEN_AFTER / 2).await;
            screen.person(Person::Waits);
        };
        let (seen, ()) = tokio::join!(is_seen(&screen, said), leaving);
        assert!(!seen);
    }
}
