//! `chatd user`: accounts, whether the daemon runs or not.

mod import;
mod list;
mod password;
mod progress;

use std::path::Path;

use crate::args::UserCommand;
use crate::config::Config;
use crate::control::{AccountRow, Answer, First, Operator, Request};
use crate::datadir::DataDir;
use crate::exit::{Exit, Failure};
use crate::terminal::{confirm, say};

/// Does what the command says, through the daemon or on the store itself.
pub(crate) async fn run(
    command: UserCommand,
    config: &Config,
    directory: &DataDir,
    control: Option<&Path>,
) -> Result<(), Failure> {
    if let UserCommand::Import { file } = command {
        return import::run(&file, config, directory, control).await;
    }
    let reach = async |first| Operator::reach(config, directory, control, first).await;
    let first = command.first();
    if let UserCommand::Passwd { user, password } = &command
        && !password.password_stdin
    {
        // Nobody should think up a password for nobody.
        let mut operator = reach(first).await?;
        let account = account(user, &mut operator).await;
        operator.finish().await;
        account?;
    }
    let command = Prepared::from(command)?;
    let mut operator = reach(first).await?;
    let outcome = carry_out(command, &mut operator).await;
    operator.finish().await;
    outcome
}

impl UserCommand {
    /// What it does where there is no store: nothing can be changed or seen before there is an account.
    fn first(&self) -> First {
        match self {
            Self::Add { .. } | Self::Import { .. } => First::Makes,
            _ => First::Refuses,
        }
    }
}

/// A command with its passwords read, so that no store is held open while a person types.
enum Prepared {
    Ask(Request),
    Remove { user: String, yes: bool },
    List { json: bool },
}

impl Prepared {
    fn from(command: UserCommand) -> Result<Self, Failure> {
        let request = match command {
            UserCommand::Add { user: username, name, password } => {
                let password = password::read(&username, password)?;
                Request::Add { username, name, password }
            }
            UserCommand::Passwd { user: username, password } => {
                let password = password::read(&username, password)?;
                Request::SetPassword { username, password }
            }
            UserCommand::Rename { user: username, username: new_username, name: new_name } => {
                Request::Rename { username, new_username, new_name }
            }
            UserCommand::Release { user: username } => Request::Release { username },
            UserCommand::Remove { user, yes } => return Ok(Self::Remove { user, yes }),
            UserCommand::List { json } => return Ok(Self::List { json }),
            UserCommand::Import { .. } => return Err(unexpected()),
        };
        Ok(Self::Ask(request))
    }
}

async fn carry_out(command: Prepared, operator: &mut Operator) -> Result<(), Failure> {
    match command {
        Prepared::Remove { user, yes } => remove(user, yes, operator).await,
        Prepared::List { json } => list::run(json, operator).await,
        Prepared::Ask(request) => {
            let done = describe(&request);
            match operator.call(request).await? {
                Answer::Done => say(done),
                Answer::SessionsEnded { sessions } => {
                    say(format_args!("{done}; sessions ended: {sessions}"));
                }
                _ => return Err(unexpected()),
            }
            Ok(())
        }
    }
}

async fn remove(username: String, yes: bool, operator: &mut Operator) -> Result<(), Failure> {
    let account = account(&username, operator).await?;
    let (full_name, waiting) = (list::plain(&account.name), account.undelivered);
    if !yes {
        let question = format!(
            "remove {username} ({full_name}), with {waiting} undelivered messages and {} sessions?",
            account.sessions
        );
        confirm(&question)?;
    }
    let Answer::Removed { undelivered } =
        operator.call(Request::Remove { username: username.clone() }).await?
    else {
        return Err(unexpected());
    };
    say(format_args!(
        "removed {username}; undelivered messages deleted: {undelivered}; \
         the username stays reserved until `chatd user release {username}`"
    ));
    Ok(())
}

/// An account that was not removed.
async fn account(username: &str, operator: &mut Operator) -> Result<AccountRow, Failure> {
    let request = Request::Show { username: username.to_owned() };
    let Answer::Account { account } = operator.call(request).await? else {
        return Err(unexpected());
    };
    if account.removed.is_some() {
        let why = "removed already; `chatd user release` frees the username";
        return Err(Failure::new(Exit::NoUser, format!("{username}: {why}")));
    }
    Ok(account)
}

/// What to say once it is done.
fn describe(request: &Request) -> String {
    match request {
        Request::Add { username, .. } => format!("added {username}"),
        Request::SetPassword { username, .. } => format!("{username} has a new password"),
        Request::Rename { username, new_username: Some(new), .. } => {
            format!("renamed {username} to {new}")
        }
        Request::Rename { username, .. } => format!("{username} has a new full name"),
        Request::Release { username } => format!("{username} can be taken again"),
        _ => String::new(),
    }
}

fn unexpected() -> Failure {
    Failure::new(Exit::Software, "the daemon gave an answer that does not fit the request")
}
