//! What a run does: the command line, checked and made ready.

mod address;
mod check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::address::{CHAT_PORT, resolve, with_port};
pub(crate) use self::check::PlanError;
use self::check::check;
use crate::accounts::{Account, Accounts, AccountsError};
use crate::args::{LoadArgs, Protocol};
use crate::body::Bodies;
use crate::mix::Mix;
use crate::outcome::{Description, Kind};
use crate::process::{self, Process};
use crate::recipients::Choice;
use crate::schedule::Schedule;
use crate::span::{Span, TimeSpan};
use crate::tokens::{self, Session};

/// Everything the clients share. Users are known by their place in `accounts`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) description: Description,
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    /// Connections beyond the clients, each for a user of its own: the first ones.
    pub(crate) watchers: usize,
    pub(crate) in_flight: usize,
    pub(crate) goal: Goal,
    pub(crate) rate: Option<f64>,
    pub(crate) mix: Mix,
    pub(crate) size: Span,
    pub(crate) bodies: Bodies,
    pub(crate) think: Option<TimeSpan>,
    pub(crate) ramp: Duration,
    pub(crate) churn: Option<f64>,
    pub(crate) accounts: Accounts,
    pub(crate) recipients: Choice,
    /// With `--tokens`, used in turn.
    pub(crate) sessions: Option<Vec<Session>>,
    /// The users of the sessions; `None` for somebody who is none of the accounts.
    session_users: Vec<Option<usize>>,
    pub(crate) save_tokens: Option<PathBuf>,
    /// With `--drain`: how many messages a user was sent since its mailbox was read to the end.
    unread: Option<Vec<AtomicUsize>>,
    pub(crate) threads: usize,
    pub(crate) process: Option<Process>,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
}

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    Duration { warmup: Duration, measured: Duration },
    Count(u64),
}

impl Plan {
    /// Checks what can be checked before the first connection.
    pub(crate) fn new(args: &LoadArgs) -> Result<Self, PlanError> {
        let sessions = args.sessions.tokens.as_deref().map(tokens::read).transpose()?;
        let accounts = chosen_accounts(args, sessions.as_deref())?;
        let watchers = args.shape.watchers.of(args.clients);
        check(args, watchers, &accounts)?;
        process::allow_open_files(args.clients.saturating_add(watchers))?;
        let among =
            if args.shape.drain { accounts.len().min(args.clients) } else { accounts.len() };
        if sends(args) {
            accounts.at_least_two()?;
            if among < 2 {
                return Err(PlanError::NobodyDrains);
            }
        }
        let in_flight = in_flight(args);
        let description = describe(args, accounts.len(), watchers, in_flight);
        Ok(Self {
            address: resolve(&description.server)?,
            description,
            protocol: args.shape.protocol,
            clients: args.clients,
            watchers,
            in_flight,
            goal: goal(args),
            rate: args.shape.rate,
            mix: args.shape.mix.clone(),
            size: args.shape.size,
            bodies: Bodies::new(args.shape.size.high(), watchers > 0),
            think: args.shape.think,
            ramp: args.connections.ramp,
            churn: args.connections.churn,
            recipients: Choice::new(args.shape.recipients, among),
            unread: args.shape.drain.then(|| (0..among).map(|_| AtomicUsize::default()).collect()),
            session_users: session_users(args, &accounts, sessions.as_deref())?,
            accounts,
            sessions,
            save_tokens: args.sessions.save_tokens.clone(),
            threads: args.threads.min(args.clients),
            process: args.pid.map(Process::find).transpose()?,
            timeout: args.timeout,
            seed: args.seed,
        })
    }

    /// How many of `--count` operations a client does; the first clients do the odd ones.
    pub(crate) fn share(&self, client: usize) -> Option<u64> {
        let Goal::Count(count) = self.goal else {
            return None;
        };
        let clients = u64::try_from(self.clients).ok()?;
        let odd = u64::try_from(client).is_ok_and(|client| client < count % clients);
        Some(count / clients + u64::from(odd))
    }

    /// How many connections `--churn` has made anew between two moments.
    pub(crate) fn churn_due(&self, start: Instant, end: Instant) -> u64 {
        self.churn.map_or(0, |rate| Schedule::new(start, rate).before(end))
    }

    /// How long nothing need be answered without anything being wrong: the clients may all pause, and then have as long as
    /// `--timeout` says.
    pub(crate) fn patience(&self) -> Duration {
        let thinking = self.think.map(TimeSpan::longest).unwrap_or_default();
        let pause = self.rate.map_or(thinking, |rate| Duration::from_secs_f64(rate.recip()));
        self.timeout.saturating_add(pause)
    }

    /// What a connection begins with, in one word.
    pub(crate) fn setup_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Redis | Protocol::Irc => "connection",
            Protocol::Chat | Protocol::Old if self.sessions.is_some() => "session",
            Protocol::Chat | Protocol::Old => "login",
        }
    }

    /// Whether the sessions are of this run alone, and end with it: a user has room for a hundred, and the next would put out
    /// others of theirs.
    pub(crate) fn ends_sessions(&self) -> bool {
        matches!(self.protocol, Protocol::Chat | Protocol::Old)
            && self.sessions.is_none()
            && self.save_tokens.is_none()
    }

    /// Whether there is nothing to do but to log in.
    pub(crate) fn logins_only(&self) -> bool {
        matches!(self.goal, Goal::Duration { measured: Duration::ZERO, .. })
    }

    /// Whether a user's mailbox waits to be read; never without `--drain`.
    pub(crate) fn is_full(&self, user: usize) -> bool {
        self.unread(user).is_some_and(|unread| unread.load(Ordering::Relaxed) >= MUCH_UNREAD)
    }

    /// Notes that a user's mailbox was found full, or that it was read.
    pub(crate) fn set_full(&self, user: usize, is_full: bool) {
        if let Some(unread) = self.unread(user) {
            unread.store(if is_full { MUCH_UNREAD } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Notes a message that a user was sent.
    pub(crate) fn sent(&self, user: usize) {
        if let Some(unread) = self.unread(user) {
            unread.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn unread(&self, user: usize) -> Option<&AtomicUsize> {
        self.unread.as_ref()?.get(user)
    }

    /// Whether a connection reads its user's mailbox to the end before the run: with `--drain` the first of each user.
    pub(crate) fn empties_mailbox(&self, connection: usize) -> bool {
        self.unread.as_ref().is_some_and(|unread| connection < unread.len())
    }

    /// All connections: the clients', and behind them the watchers'.
    pub(crate) fn connections(&self) -> usize {
        self.clients.saturating_add(self.watchers)
    }

    /// Whether a connection is a watcher's.
    pub(crate) fn is_watcher(&self, connection: usize) -> bool {
        connection >= self.clients
    }

    /// The session made beforehand for a connection, with `--tokens`.
    pub(crate) fn session(&self, connection: usize) -> Option<&Session> {
        // A watcher's must be one of the watched user, so it has a place from the beginning on, too.
        let sessions = self.sessions.as_ref()?;
        sessions.get(self.turn(connection) % sessions.len())
    }

    /// The user that a connection is; with `--tokens`, whose session it has. `None` for somebody unknown.
    pub(crate) fn user_of(&self, connection: usize) -> Option<usize> {
        let turn = self.turn(connection);
        if self.sessions.is_some() {
            return *self.session_users.get(turn % self.session_users.len())?;
        }
        Some(turn % self.accounts.len())
    }

    fn turn(&self, connection: usize) -> usize {
        connection.checked_sub(self.clients).unwrap_or(connection)
    }
}

/// The accounts of the command line, or those that have sessions, or the nicks that the clients will have.
fn chosen_accounts(
    args: &LoadArgs,
    sessions: Option<&[Session]>,
) -> Result<Accounts, AccountsError> {
    let are_named = args.accounts.users.is_some() || args.accounts.user_prefix.is_some();
    match sessions {
        _ if args.shape.protocol == Protocol::Irc => Ok(Accounts::Numbered {
            prefix: NICK.to_owned(),
            count: args.clients,
            password: String::new(),
        }),
        Some(sessions) if !are_named => {
            let account = |session: &Session| Account {
                username: session.username.clone(),
                password: String::new(),
            };
            let mut accounts: Vec<_> = sessions.iter().map(account).collect();
            accounts.dedup();
            Ok(Accounts::Listed(accounts))
        }
        _ => Accounts::new(&args.accounts),
    }
}

fn session_users(
    args: &LoadArgs,
    accounts: &Accounts,
    sessions: Option<&[Session]>,
) -> Result<Vec<Option<usize>>, PlanError> {
    let names = sessions.unwrap_or_default().iter().map(|session| session.username.as_str());
    let users = accounts.positions(names);
    if args.shape.mix.contains(Kind::Login) && users.contains(&None) {
        return Err(PlanError::NoPasswords);
    }
    Ok(users)
}

/// Whether anything is sent, which takes somebody else to send to.
fn sends(args: &LoadArgs) -> bool {
    let mix = &args.shape.mix;
    let has_work = !matches!(goal(args), Goal::Duration { measured: Duration::ZERO, .. });
    has_work && (mix.contains(Kind::Send) || mix.contains(Kind::Post))
}

fn in_flight(args: &LoadArgs) -> usize {
    let default = match (args.shape.protocol, args.shape.rate) {
        (Protocol::Old, _) | (_, None) => 1,
        (_, Some(_)) => OPEN_LOOP_IN_FLIGHT,
    };
    args.in_flight.unwrap_or(default)
}

fn goal(args: &LoadArgs) -> Goal {
    match args.count {
        Some(count) => Goal::Count(count),
        None => Goal::Duration { warmup: args.warmup, measured: args.duration },
    }
}

fn describe(args: &LoadArgs, accounts: usize, watchers: usize, in_flight: usize) -> Description {
    Description {
        server: with_port(&args.server, usual_port(args.shape.protocol)),
        protocol: args.shape.protocol.name().to_owned(),
        clients: args.clients,
        watchers,
        in_flight,
        threads: args.threads.min(args.clients),
        rate: args.shape.rate,
        mix: args.shape.mix.to_string(),
        size: args.shape.size.to_string(),
        recipients: args.shape.recipients.to_string(),
        accounts,
        think: args.shape.think.map(|think| think.to_string()).unwrap_or_default(),
        ramp: args.connections.ramp,
        churn: args.connections.churn.unwrap_or_default(),
        seed: args.seed,
    }
}

fn usual_port(protocol: Protocol) -> Option<u16> {
    match protocol {
        Protocol::Chat | Protocol::Old => Some(CHAT_PORT),
        Protocol::Redis | Protocol::Irc => None,
    }
}

/// Nicks are this and a number: short enough for servers that allow nine letters.
const NICK: &str = "load";
/// Mailboxes are read from here on: a default one takes 10,000, and some thousands may be in flight to it.
const MUCH_UNREAD: usize = 4_000;
/// Enough to start an operation when it is due though the server stalls; a bound on what waits in sockets.
const OPEN_LOOP_IN_FLIGHT: usize = 64;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = std::iter::once("chat-load").chain(line.split_whitespace());
        Plan::new(&Args::try_parse_from(words).unwrap().load)
    }

    #[test]
    fn a_count_is_shared_out_in_full() {
        let plan = plan("--clients 3 --count 8").unwrap();
        let shares: Vec<_> = (0..3).map(|client| plan.share(client).unwrap()).collect();
        assert_eq!(shares, [3, 3, 2]);
    }

    #[test]
    fn a_slow_pace_is_no_silence() {
        let seconds = |line| plan(line).unwrap().patience().as_secs_f64();
        assert_eq!(seconds("-n 9"), 10.0);
        assert_eq!(seconds("-n 9 --timeout 3 --think 0.5..20"), 23.0);
        assert_eq!(seconds("-n 9 --timeout 3 --rate 0.05"), 23.0);
    }

    #[test]
    fn watchers_are_the_first_users_again() {
        let plan = plan("--clients 6 --watchers 50%").unwrap();
        let users: Vec<_> = (0..plan.connections()).map(|c| plan.user_of(c).unwrap()).collect();
        assert_eq!(users, [0, 1, 2, 3, 0, 1, 0, 1, 2]);
        assert!(!plan.is_watcher(5) && plan.is_watcher(6));
    }

    #[test]
    fn sessions_say_who_the_clients_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "username,token\nu5,five\nu0,zero\nalien,far\n").unwrap();
        let tokens = format!("--tokens {} ", file.path().display());
        let given =
            plan(&(tokens.clone() + "--user-prefix u --user-count 6 --password p")).unwrap();
        let users: Vec<_> = (0..4).map(|client| given.user_of(client)).collect();
        assert_eq!(users, [Some(5), Some(0), None, Some(5)]);
        assert_eq!(given.setup_name(), "session");
        assert_eq!(given.session(4).unwrap().token, "zero");
        assert_eq!(plan(&tokens).unwrap().accounts.len(), 3);
        let accounts = "--mix login --user-prefix u --user-count 6 --password p";
        for unknown in ["--mix login", accounts] {
            assert!(matches!(plan(&(tokens.clone() + unknown)), Err(PlanError::NoPasswords)));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_before_connecting() {
        for (line, advice) in [
            ("--drain --clients 1", "at least two clients"),
            ("--protocol redis --server nowhere", "expected HOST:PORT"),
            ("--protocol irc --server ::1", "expected HOST:PORT"),
            ("--server host.invalid:1", "cannot find host.invalid:1"),
            ("--pid 4294967295", "no process 4294967295"),
            ("--protocol old --in-flight 2", "leave out --in-flight"),
            ("--protocol old --mix send,post", "knows no post"),
            ("--protocol old --watchers 1", "knows no watchers"),
            ("--protocol redis --mix inbox", "knows no inbox"),
            ("--protocol redis --save-tokens f", "knows no tokens"),
            ("--protocol irc --drain", "nothing for --drain"),
            ("--protocol irc --churn 1", "knows no churn"),
            ("--protocol irc --clients 1", "at least two clients"),
            ("--watchers 5", "there are 4"),
            ("--watchers 1 --size 20..100", "--size 29 or more"),
            ("--user-prefix u --user-count 1 --password p", "at least two accounts, not 1"),
            (
                "--user-prefix u --user-count 1 --password p --mix post,login",
                "at least two accounts",
            ),
            ("--tokens /nowhere/tokens", "make the file with --save-tokens"),
            ("--users /nowhere/users", "cannot read the accounts"),
            ("--user-prefix u --user-count 2 --password-file /nowhere", "cannot read the password"),
        ] {
            let error = plan(line).unwrap_err();
            let elsewhere = ["cannot", "HOST:PORT", "no process", "make the file"];
            let is_elsewhere = elsewhere.iter().any(|word| advice.contains(word));
            assert_eq!(error.is_about_options(), !is_elsewhere, "{line}");
            let error = error.to_string();
            assert!(error.contains(advice), "{line}: {error}");
        }
    }

    #[test]
    fn who_sends_nothing_may_be_alone() {
        let alone = "--user-prefix u --user-count 1 --password p";
        for line in ["--mix login", "--mix inbox -n 9", "-d 0", "--mix inbox --drain -c 1"] {
            assert_eq!(plan(&format!("{alone} {line}")).unwrap().accounts.len(), 1, "{line}");
        }
    }

    #[test]
    fn a_mailbox_is_read_before_it_is_full() {
        let drained = plan("--clients 3 --drain").unwrap();
        (0..MUCH_UNREAD).for_each(|_| drained.sent(1));
        assert_eq!([0, 1, 2].map(|user| drained.is_full(user)), [false, true, false]);
        drained.set_full(1, false);
        assert!(!drained.is_full(1));
        assert_eq!([2, 3].map(|connection| drained.empties_mailbox(connection)), [true, false]);
        let filled = plan("--clients 3").unwrap();
        (0..MUCH_UNREAD).for_each(|_| filled.sent(1));
        assert!(!filled.is_full(1) && !filled.empties_mailbox(1));
    }

    #[test]
    fn a_million_accounts_take_no_room() {
        let plan = plan("--user-prefix u --user-count 1000000 --password p").unwrap();
        assert!(matches!(plan.accounts, Accounts::Numbered { count: 1_000_000, .. }));
    }
}
