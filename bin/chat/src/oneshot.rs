//! Commands that do one thing and exit: `chat login`, `chat send` and so on.

use std::io::{self, Write};

use chat_client::{Client, ConnectOptions, Delivery};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args::Cmd;
use crate::failure::Failure;
use crate::json::{Active, LoggedIn, LoggedOut, Owner, Received, Sent};
use crate::lines::Lines;
use crate::state::{KeptLogin, StateDirectory};
use crate::text::{ascii_json, message_line, neutralise};
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
        let sent = if from_stdin {
            send_lines(&client, to).await?
        } else {
            client.send(to, &text.join(" ")).await?;
            1
        };
        self.say(&phrases::sent_to(to), &Sent { to, sent })
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
        let zone = TimeZone::system();
        let mut out = io::BufWriter::new(&mut self.out);
        for message in delivery.messages() {
            if self.json {
                writeln!(out, "{}", ascii_json(&Received::from(message))?)?;
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

/// Sends each line of standard input as a message. Returns how many.
async fn send_lines(client: &Client, to: &str) -> Result<u64, Failure> {
    let mut lines = Lines::new(io::stdin().lock());
    let mut sent = 0;
    while let Some(line) = lines.next()? {
        let outcome = match line {
            Ok(text) if text.is_empty() => continue,
            Ok(text) => client.send(to, &text).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        outcome.map_err(|source| Failure::Line {
            line: lines.number(),
            sent,
            source: Box::new(source),
        })?;
        sent += 1;
    }
    if sent == 0 {
        let nothing = "nothing to send: give a TEXT, or lines on standard input";
        return Err(Failure::Usage(nothing.to_owned()));
    }
    Ok(sent)
}
