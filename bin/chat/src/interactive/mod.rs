//! The interactive client: read a line, do it, say what came of it.

mod input;
mod live;
mod screen;
mod session;
mod typed;

use std::io::{self, IsTerminal as _};

use tokio::runtime::Runtime;
use tokio::time::Instant;

use self::input::{Input, Read};
use self::screen::{Person, Screen};
use self::session::Session;
use self::typed::{Mistyped, Passwords, Typed};
use crate::failure::{Exit, Failure};
use crate::{password, phrases};

/// Runs a session to its end. On a terminal that is success; from a pipe the first failure counts.
pub(crate) fn run(runtime: &Runtime, server: &str) -> Result<Option<Exit>, Failure> {
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut input = if on_terminal { Input::terminal()? } else { Input::pipe() };
    let screen = on_terminal.then(|| Screen::new(input.printer()));
    let mut conversation = Conversation {
        runtime,
        input,
        session: Session::new(server, io::stdout(), screen.clone()),
        screen,
        first_failure: None,
    };
    conversation.run()?;
    Ok(conversation.first_failure.filter(|_| !on_terminal))
}

struct Conversation<'a> {
    runtime: &'a Runtime,
    input: Input,
    session: Session<io::Stdout>,
    screen: Option<Screen>,
    first_failure: Option<Exit>,
}

impl Conversation<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        if self.input.is_terminal() {
            let greeted = unless_interrupted(true, self.session.greet());
            let greeted = self.runtime.block_on(greeted);
            self.report(greeted)?;
        }
        loop {
            let outcome = match self.read()? {
                Read::Line(line) => match typed::parse(&line) {
                    Ok(Typed::Quit) => break,
                    Ok(typed) => self.perform(typed),
                    Err(mistyped) => self.refuse(mistyped),
                },
                Read::Bad(failure) => Err(failure),
                Read::Interrupted => Ok(()),
                Read::End => break,
            };
            self.report(outcome)?;
        }
        self.runtime.block_on(self.session.end());
        Ok(())
    }

    fn read(&mut self) -> Result<Read, Failure> {
        let prompt = self.session.prompt();
        self.person(Person::Types(Instant::now()));
        let read = self.input.read(&prompt);
        self.person(Person::Waits);
        read
    }

    fn person(&self, does: Person) {
        if let Some(screen) = &self.screen {
            screen.person(does);
        }
    }

    fn perform(&mut self, typed: Typed) -> Result<(), Failure> {
        let on_terminal = self.input.is_terminal();
        self.person(Person::TypesPassword);
        let complete = ask_for_the_rest(typed, on_terminal);
        self.person(Person::Waits);
        let complete = match complete? {
            Ok(complete) => complete,
            Err(mistyped) => return self.refuse(mistyped),
        };
        let performed = unless_interrupted(on_terminal, self.session.perform(complete));
        self.runtime.block_on(performed)
    }

    fn refuse(&mut self, mistyped: Mistyped) -> Result<(), Failure> {
        self.note(Exit::Usage);
        self.session.say(match mistyped {
            Mistyped::UnknownCommand => phrases::UNKNOWN_COMMAND,
            Mistyped::TooFewWords => phrases::TOO_FEW_WORDS,
        })
    }

    /// Says what failed and goes on, unless nothing can be said any more.
    fn report(&mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => Ok(()),
            Err(failure @ Failure::Output(_)) => Err(failure),
            Err(failure) => {
                self.note(failure.exit());
                self.session.explain(&failure, self.input.is_terminal())
            }
        }
    }

    fn note(&mut self, exit: Exit) {
        self.first_failure.get_or_insert(exit);
    }
}

/// Asks for what was left out, without echo. From a pipe there is nobody to ask.
fn ask_for_the_rest(typed: Typed, on_terminal: bool) -> Result<Result<Typed, Mistyped>, Failure> {
    let missing = matches!(
        typed,
        Typed::Auth { password: None, .. }
            | Typed::Register { password: None, .. }
            | Typed::ChangePassword(None)
    );
    if missing && !on_terminal {
        return Ok(Err(Mistyped::TooFewWords));
    }
    Ok(Ok(match typed {
        Typed::Auth { username, password: None } => {
            Typed::Auth { username, password: Some(password::ask("Password: ")?) }
        }
        Typed::Register { username, password: None, name } => {
            Typed::Register { username, password: Some(password::ask_new()?), name }
        }
        Typed::ChangePassword(None) => Typed::ChangePassword(Some(Passwords {
            old: password::ask("Old password: ")?,
            new: password::ask_new()?,
        })),
        complete => complete,
    }))
}

/// Waits for the answer, on a terminal at most until Ctrl-C. From the first call on Ctrl-C no longer ends the process,
/// also at a password's prompt, which turns it into a signal. In a pipe it does, as everywhere.
async fn unless_interrupted(
    on_terminal: bool,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    if !on_terminal {
        return work.await;
    }
    tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        outcome = work => outcome,
    }
}
