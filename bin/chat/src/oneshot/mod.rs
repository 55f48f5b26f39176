//! Commands that do one thing and exit: `chat login`, `chat send` and so on.

mod watch;

use std::io::{self, Write};

use chat_client::{Client, ConnectOptions, Delivery};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args::Cmd;
use crate::failure::Failure;
use crate::history::{last_messages, message_count};
use crate::json::{
    Active, Blocked, LoggedIn, LoggedOut, Owner, Past, PrivacySet, Received, Sent, Status,
};
use crate::lines::Lines;
use crate::privacy::{privacy_choice, privacy_subject};
use crate::state::{KeptLogin, StateDirectory};
use crate::text::{Said, ascii_json, message_line, neutralise};
use crate::{password, phrases};

/// Runs one command to its end.
pub(crate) async fn run(command: Cmd, server: &str) -> Result<(), Failure> {
    let mut job = Job {
        options: ConnectOptions::new(server),
        state: StateDirectory::conventional()?,
        json: command.json(),
        out: io::stdout(),
    };
    match command {
        Cmd::Login { username, password_stdin, .. } => job.login(username, password_stdin).await,
        Cmd::Send { to, text, .. } => job.send(&to, &text).await,
        Cmd::Inbox { .. } => job.inbox().await,
        Cmd::Watch { ack, after, incarnation, .. } => {
            let client = job.client().await?;
            watch::run(&client, after.zip(incarnation), ack, &mut job.out).await
        }
        Cmd::History { with, count, .. } => job.history(&with, &count).await,
        Cmd::Status { id, .. } => job.status(&id).await,
        Cmd::Block { username, .. } => job.block(&username).await,
        Cmd::Unblock { username, .. } => job.unblock(&username).await,
        Cmd::Privacy { subject, choice, .. } => job.privacy(&subject, &choice).await,
        Cmd::List { .. } => job.list().await,
        Cmd::Whoami { .. } => job.whoami().await,
        Cmd::Logout { .. } => job.logout().await,
        Cmd::Completions { .. } => Ok(()),
    }
}

struct Job {
    options: ConnectOptions,
    state: StateDirectory,
    json: bool,
    out: io::Stdout,
}

impl Job {
    async fn login(&mut self, username: String, password_stdin: bool) -> Result<(), Failure> {
        let password = if password_stdin {
            password::from_stdin()?
        } else {
            password::ask(&format!("Password of {}: ", neutralise(&username)))?
        };
        let client = Client::connect(self.options.clone()).await?;
        let token = client.login(&username, &password).await?;
        let earlier = self.state.login(self.server()).ok().flatten();
        let login = KeptLogin { username, token };
        if let Err(failure) = self.state.keep_login(self.server(), &login) {
            // A login that cannot be used again should not stay open either.
            let _ = client.logout().await;
            return Err(failure);
        }
        if let Some(earlier) = earlier {
            // Nobody has its token any more; if the server cannot end it now, it expires.
            let _ = client.with_token(earlier.token).logout().await;
        }
        let server = self.server().to_owned();
        let value = LoggedIn { user: &login.username, server: &server };
        self.say(&phrases::logged_in(&login.username, token), &value)
    }

    async fn send(&mut self, to: &str, text: &[String]) -> Result<(), Failure> {
        let client = self.client().await?;
        let from_stdin = text.is_empty() || text == ["-"];
        let (sent, last) = if from_stdin {
            send_lines(&client, to).await?
        } else {
            (1, client.send(to, &text.join(" ")).await?)
        };
        let id = last.receipt().map(|receipt| receipt.id.clone());
        self.say(&phrases::sent_to(to), &Sent { to, sent, id })
    }

    async fn history(&mut self, with: &str, count: &str) -> Result<(), Failure> {
        let count = message_count(count)?;
        let messages = last_messages(&self.client().await?, with, count).await?;
        self.write_all(messages.iter().map(|message| (message, Past::from(message))))
            .map_err(Failure::Output)
    }

    async fn status(&mut self, id: &str) -> Result<(), Failure> {
        let status = self.client().await?.status(id).await?;
        let text = phrases::message_status(&status, &TimeZone::system());
        self.say(&text, &Status::new(id, &status))
    }

    async fn block(&mut self, username: &str) -> Result<(), Failure> {
        self.client().await?.block(username).await?;
        self.say(&phrases::blocked(username), &Blocked { user: username, blocked: true })
    }

    async fn unblock(&mut self, username: &str) -> Result<(), Failure> {
        self.client().await?.unblock(username).await?;
        self.say(&phrases::unblocked(username), &Blocked { user: username, blocked: false })
    }

    async fn privacy(&mut self, subject: &str, choice: &str) -> Result<(), Failure> {
        let client = self.client().await?;
        client.privacy(privacy_subject(subject)?, privacy_choice(choice)?).await?;
        self.say(phrases::PRIVACY_SET, &PrivacySet { subject, choice })
    }

    /// Page by page: written out first, acknowledged then.
    async fn inbox(&mut self) -> Result<(), Failure> {
        let client = self.client().await?;
        let mut any = false;
        loop {
            let delivery = client.inbox().await?;
            any |= !delivery.messages().is_empty();
            self.show(&delivery).map_err(Failure::Output)?;
            delivery.ack().await?;
            if !delivery.more() {
                break;
            }
        }
        if !any && !self.json {
            writeln!(self.out, "{}", phrases::NO_MESSAGES).map_err(Failure::Output)?;
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Failure> {
        let active = self.client().await?.active_users().await?;
        let mut names = Vec::new();
        for user in &active.users {
            names.push(neutralise(user).into_owned());
        }
        let value = Active { active: &active.users, more: active.more };
        self.say(&names.join("\n"), &value)
    }

    async fn whoami(&mut self) -> Result<(), Failure> {
        let whoami = self.client().await?.whoami().await?;
        self.say(&phrases::whoami(&whoami, &TimeZone::system()), &Owner::from(&whoami))
    }

    async fn logout(&mut self) -> Result<(), Failure> {
        let client = self.client().await?;
        let ended = client.logout().await;
        // The client forgets a login that is over, also one the server had ended already.
        if client.token().is_none() {
            self.state.forget_login(self.server())?;
        }
        ended?;
        self.say(phrases::LOGGED_OUT, &LoggedOut { logged_out: true })
    }

    /// A connection with the login kept for this server.
    async fn client(&self) -> Result<Client, Failure> {
        let login = self.state.login(self.server())?;
        let login = login.ok_or_else(|| Failure::NoLogin { server: self.server().to_owned() })?;
        let client = Client::connect(self.options.clone()).await?;
        Ok(client.with_token(login.token))
    }

    fn server(&self) -> &str {
        self.options.address()
    }

    fn show(&mut self, delivery: &Delivery) -> io::Result<()> {
        self.write_all(delivery.messages().iter().map(|message| (message, Received::from(message))))
    }

    /// Writes messages, each as a line for people or as JSON.
    fn write_all<'a>(
        &mut self,
        messages: impl Iterator<Item = (impl Into<Said<'a>>, impl Serialize)>,
    ) -> io::Result<()> {
        let zone = TimeZone::system();
        let mut out = io::BufWriter::new(&mut self.out);
        for (message, value) in messages {
            if self.json {
                writeln!(out, "{}", ascii_json(&value)?)?;
            } else {
                writeln!(out, "{}", message_line(message, &zone))?;
            }
        }
        out.flush()
    }

    fn say(&mut self, text: &str, value: &impl Serialize) -> Result<(), Failure> {
        let written = if self.json {
            ascii_json(value).map_err(io::Error::from).and_then(|json| writeln!(self.out, "{json}"))
        } else if text.is_empty() {
            Ok(())
        } else {
            writeln!(self.out, "{text}")
        };
        written.and_then(|()| self.out.flush()).map_err(Failure::Output)
    }
}

/// Sends each line of standard input as a message. Returns how many, and what came of the last.
async fn send_lines(client: &Client, to: &str) -> Result<(u64, chat_client::Sent), Failure> {
    let mut lines = Lines::new(io::stdin().lock());
    let mut sent = 0;
    let mut last = None;
    while let Some(line) = lines.next()? {
        let outcome = match line {
            Ok(text) if text.is_empty() => continue,
            Ok(text) => client.send(to, &text).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        last = Some(outcome.map_err(|source| Failure::Line {
            line: lines.number(),
            sent,
            source: Box::new(source),
        })?);
        sent += 1;
    }
    let nothing = "nothing to send: give a TEXT, or lines on standard input";
    let last = last.ok_or_else(|| Failure::Usage(nothing.to_owned()))?;
    Ok((sent, last))
}
