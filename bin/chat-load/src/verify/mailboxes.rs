//! Reading mailboxes to their end: before a run, out of sight, and after it, for the verdict.

use std::sync::Arc;

use chat_core::MessageId;
use chat_core::protocol::{Command, PeekPage, Reply};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::fact::{Fact, User};
use super::session::Session;
use super::wire::{Fate, Lost, Wire};
use super::world::{LOGINS_AT_ONCE, REFUSAL_PAUSE, World, ask, passes, unexpected};

/// Empties every mailbox and finds its end, so that the run begins with nothing unknown.
pub(crate) async fn empty(world: &Arc<World>) -> Result<(), Lost> {
    each(world, |world, user| async move {
        loop {
            match find_end(&world, user).await {
                Err(Lost::Ended | Lost::Cut) => {}
                Err(lost) => return Err(lost),
                Ok(end) => {
                    world.court.note(Fact::Emptied { user, id: end.into() });
                    return Ok(());
                }
            }
        }
    })
    .await
}

/// Reads every mailbox until nothing is left, for the court to see.
pub(crate) async fn drain(world: &Arc<World>) -> Result<(), Lost> {
    each(world, |world, user| async move {
        loop {
            let mut session = Session::open(&world, user, Fate::none).await?;
            let outcome = drain_one(&mut session).await;
            session.close(outcome.as_ref().err().unwrap_or(&Lost::Cut), true);
            match outcome {
                Err(Lost::Ended | Lost::Cut) => {}
                outcome => return outcome,
            }
        }
    })
    .await
}

async fn drain_one(session: &mut Session) -> Result<(), Lost> {
    while session.peek(None, None).await? > 0 {
        if let Some(newest) = session.newest {
            session.ack(newest, true).await?;
        }
    }
    Ok(())
}

/// Confirms whatever is there, a probe sent to oneself last, and gives the probe's id.
async fn find_end(world: &World, user: User) -> Result<MessageId, Lost> {
    let mut wire = world.connect(Fate::none).await?;
    let token = world.token(&mut wire, user).await?;
    let (to, probe) = (world.username(user), world.letters.probe());
    // What is there may leave no room for the probe.
    confirm_all(&mut wire, &token, &probe).await?;
    loop {
        match ask(&mut wire, &Command::Send { token: &token, to, body: &probe }).await? {
            Reply::Sent => break,
            Reply::Error(error) if error.code.as_ref().is_some_and(passes) => {
                wire.idle(REFUSAL_PAUSE).await?;
            }
            reply => return Err(unexpected("send", &reply)),
        }
    }
    let end = confirm_all(&mut wire, &token, &probe).await?;
    end.ok_or_else(|| Lost::Trouble(format!("{to} sent a message to themselves that is not there")))
}

/// Reads and confirms to the end. Gives the id of the last message if that is the probe.
async fn confirm_all(wire: &mut Wire, token: &str, probe: &str) -> Result<Option<MessageId>, Lost> {
    let mut end = None;
    loop {
        let reply = ask(wire, &Command::Peek { token, after: None, limit: None }).await?;
        let Reply::Peek(PeekPage { incarnation, messages, .. }) = reply else {
            return Err(unexpected("peek", &reply));
        };
        let Some(last) = messages.last() else { return Ok(end) };
        end = (last.body == probe).then_some(last.id);
        let (id, incarnation) = (last.id.to_string(), Some(&*incarnation));
        match ask(wire, &Command::Ack { token, id: &id, incarnation }).await? {
            Reply::Acked => {}
            reply => return Err(unexpected("ack", &reply)),
        }
    }
}

/// Does the same for every account, a few at a time.
async fn each<F>(world: &Arc<World>, work: impl Fn(Arc<World>, User) -> F) -> Result<(), Lost>
where
    F: Future<Output = Result<(), Lost>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(LOGINS_AT_ONCE));
    let mut tasks = JoinSet::new();
    for (user, _) in (0..).map(User).zip(&world.seats) {
        let (permits, work) = (Arc::clone(&permits), work(Arc::clone(world), user));
        tasks.spawn(async move {
            // It is never closed.
            let _permit = permits.acquire().await;
            work.await
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        match outcome {
            Ok(outcome) => outcome?,
            Err(error) => return Err(Lost::Trouble(error.to_string())),
        }
    }
    Ok(())
}
