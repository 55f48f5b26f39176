//! A server that keeps its promises, made up of random choices, and the same server with one fault: the first is never
//! found guilty, the second always, of the right thing.

use fastrand::Rng;
use proptest::prelude::*;

use super::super::fact::Ending;
use super::super::verdict::Kind;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_correct_server_is_never_found_guilty(seed: u64) {
        let mut world = World::new(seed, None);
        prop_assert_eq!(world.run(), Ok(()));
        prop_assert!(world.judge.counts().redelivered > 0 || world.steps < 300);
    }

    #[test]
    fn a_fault_is_found_and_called_by_its_name(seed: u64, fault in prop::sample::select(FAULTS)) {
        let mut world = World::new(seed, Some(fault));
        let outcome = world.run();
        if world.happened {
            let violation = outcome.expect_err("a fault");
            prop_assert!(fault.names().contains(&violation.kind()), "{:?}: {:?}", fault, violation);
        } else {
            prop_assert_eq!(outcome, Ok(()));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// An OK, and nothing stored.
    AnswersWithoutStoring,
    /// A message is left out when it is shown.
    Skips,
    /// A confirmation is answered and forgotten.
    ForgetsConfirmation,
    /// Two messages of one connection get each other's place.
    Swaps,
    /// A message is stored a second time.
    StoresTwice,
    /// A message is shown under the id of the one before.
    ReusesId,
}

const FAULTS: &[Fault] = &[
    Fault::AnswersWithoutStoring,
    Fault::Skips,
    Fault::ForgetsConfirmation,
    Fault::Swaps,
    Fault::StoresTwice,
    Fault::ReusesId,
];

impl Fault {
    fn names(self) -> &'static [Kind] {
        match self {
            Self::AnswersWithoutStoring => &[Kind::Lost],
            // Whoever reads on from there sees the hole, or everybody thinks the message is confirmed.
            Self::Skips => &[Kind::Hole],
            Self::ForgetsConfirmation | Self::StoresTwice | Self::ReusesId => &[Kind::Duplicated],
            Self::Swaps => &[Kind::Reordered],
        }
    }
}

/// Users, each with one connection that sends and one that reads; and the mailboxes of the server.
struct World {
    random: Rng,
    judge: Judge,
    fault: Option<Fault>,
    /// Whether the fault was put in.
    happened: bool,
    steps: u32,
    connections: u32,
    tags: u32,
    users: Vec<Client>,
}

struct Client {
    sender: Connection,
    reader: Connection,
    mailbox: Vec<Tag>,
    cursor: u32,
    /// The end of the page of `inbox` that the reader's next request confirms.
    in_flight: u32,
    /// What the reader's next `inbox` follows.
    follows: u32,
    /// What the reader knows, to resume from.
    newest: u32,
}

const USERS: u32 = 3;

impl World {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut random = Rng::with_seed(seed);
        let steps = random.u32(50..600);
        let mut world = Self {
            random,
            judge: Judge::default(),
            fault,
            happened: false,
            steps,
            connections: 0,
            tags: 0,
            users: Vec::new(),
        };
        for user in (0..USERS).map(User) {
            world.fact(Fact::Emptied { user, id: Id::ZERO }).unwrap();
            let (sender, reader) = (world.connect(user), world.connect(user));
            let mailbox = Vec::new();
            world.users.push(Client {
                sender,
                reader,
                mailbox,
                cursor: 0,
                in_flight: 0,
                follows: 0,
                newest: 0,
            });
        }
        world
    }

    fn run(&mut self) -> Result<(), Violation> {
        for step in 0..self.steps {
            let user = self.random.usize(..self.users.len());
            let late = step > self.steps / 2;
            match self.random.u8(..10) {
                0..=3 => self.send(user, late)?,
                4..=5 => self.inbox(user, late)?,
                6 => self.peek(user, late)?,
                7..=8 => self.watch(user, late)?,
                _ => self.reconnect(user)?,
            }
        }
        for user in 0..self.users.len() {
            self.reconnect(user)?;
            self.read(user, Via::Peek, None, true)?;
        }
        self.judge.finish().map_err(|violation| *violation)
    }

    fn fact(&mut self, fact: Fact) -> Result<(), Violation> {
        self.judge.take(&fact, "").map_err(|violation| *violation)
    }

    fn connect(&mut self, user: User) -> Connection {
        let connection = Connection(self.connections);
        self.connections += 1;
        self.fact(Fact::Opened { connection, user }).unwrap();
        connection
    }

    /// Puts the fault in, once, when it is time for it.
    fn strikes(&mut self, fault: Fault, late: bool) -> bool {
        let now = late && !self.happened && self.fault == Some(fault);
        self.happened |= now;
        now
    }

    fn send(&mut self, from: usize, late: bool) -> Result<(), Violation> {
        let to = self.random.usize(..self.users.len());
        let count = self.random.u8(1..4);
        let tags: Vec<Tag> = (0..count).map(|_| self.attempt(from, to)).collect();
        let mut stored = tags.clone();
        if count > 1 && self.strikes(Fault::Swaps, late) {
            stored.swap(0, 1);
        }
        if self.strikes(Fault::AnswersWithoutStoring, late) {
            stored.pop();
        }
        if self.strikes(Fault::StoresTwice, late) {
            stored.push(tags[0]);
        }
        // The answers may be lost, with or without what was sent.
        let lost = !(late && self.happened) && self.random.u8(..8) == 0;
        if !lost || self.random.bool() {
            self.users[to].mailbox.extend(stored);
        }
        if lost {
            return self.reconnect(from);
        }
        let connection = self.users[from].sender;
        tags.into_iter()
            .try_for_each(|tag| self.fact(Fact::Answered { tag, connection, repeat: false }))
    }

    fn attempt(&mut self, from: usize, to: usize) -> Tag {
        let (tag, connection) = (Tag(self.tags), self.users[from].sender);
        self.tags += 1;
        self.fact(Fact::Sent { tag, connection, to: number(to) }).unwrap();
        tag
    }

    fn inbox(&mut self, user: usize, late: bool) -> Result<(), Violation> {
        // A page that was read is confirmed by this request, for the next `inbox` comes behind it.
        let page = std::mem::take(&mut self.users[user].in_flight);
        let connection = self.users[user].reader;
        self.fact(Fact::Asked { connection, via: Via::Inbox, resumes: false, after: Id::ZERO })?;
        if page > 0 {
            self.fact(Fact::Confirming { connection, id: Id(page) })?;
            let client = &mut self.users[user];
            client.cursor = client.cursor.max(page);
            self.fact(Fact::Confirmed { connection, id: Id(page) })?;
        }
        let follows = self.users[user].follows.max(self.users[user].cursor);
        let end = self.show(user, Via::Inbox, follows, late)?;
        let client = &mut self.users[user];
        (client.in_flight, client.follows) = (end, client.follows.max(end));
        Ok(())
    }

    fn peek(&mut self, user: usize, late: bool) -> Result<(), Violation> {
        let after = self.resume(user);
        self.read(user, Via::Peek, after, late)
    }

    fn watch(&mut self, user: usize, late: bool) -> Result<(), Violation> {
        let after = self.resume(user);
        self.read(user, Via::Watch, after, late)?;
        let connection = self.users[user].reader;
        self.fact(Fact::Unwatched { connection })
    }

    fn resume(&mut self, user: usize) -> Option<u32> {
        self.random.bool().then_some(self.users[user].newest)
    }

    /// Reads by `peek` or `watch`, and confirms some of it.
    fn read(
        &mut self,
        user: usize,
        via: Via,
        after: Option<u32>,
        late: bool,
    ) -> Result<(), Violation> {
        let (connection, cursor) = (self.users[user].reader, self.users[user].cursor);
        let (resumes, asked) = (after.is_some(), Id(after.unwrap_or(0)));
        self.fact(Fact::Asked { connection, via, resumes, after: asked })?;
        let behind = match (via, after) {
            (Via::Watch, Some(after)) => after,
            (_, after) => cursor.max(after.unwrap_or(0)),
        };
        if via == Via::Watch {
            self.fact(Fact::Watching { connection, after: Id(behind), gap: false })?;
        }
        let end = self.show(user, via, behind, late)?;
        if end == 0 || self.random.u8(..4) == 0 {
            return Ok(());
        }
        let id = if self.random.bool() { end } else { self.random.u32(1..=end) };
        self.fact(Fact::Confirming { connection, id: Id(id) })?;
        let forgets = id > cursor && self.strikes(Fault::ForgetsConfirmation, late);
        if !forgets {
            self.users[user].cursor = cursor.max(id);
        }
        self.fact(Fact::Confirmed { connection, id: Id(id) })?;
        if forgets {
            self.read(user, Via::Peek, None, true)?;
        }
        Ok(())
    }

    /// Shows what lies behind an id, or the first part of it, and says where that ended; 0 for nothing.
    fn show(&mut self, user: usize, via: Via, behind: u32, late: bool) -> Result<u32, Violation> {
        let connection = self.users[user].reader;
        let waiting: Vec<_> = (1..)
            .zip(self.users[user].mailbox.clone())
            .skip(usize::try_from(behind).unwrap())
            .collect();
        let length = if late { waiting.len() } else { self.random.usize(..=waiting.len()) };
        let mut page = waiting[..length].to_vec();
        if page.len() > 2 && self.strikes(Fault::Skips, late) {
            page.remove(1);
        }
        if page.len() > 1 && self.strikes(Fault::ReusesId, late) {
            page[1].0 = page[0].0;
        }
        for &(id, tag) in &page {
            self.fact(Fact::Shown { connection, via, id: Id(id), tag })?;
        }
        let end = page.last().map_or(0, |&(id, _)| id);
        self.users[user].newest = self.users[user].newest.max(end);
        Ok(end)
    }

    /// Both connections break; a page that is in flight is confirmed if the end was an orderly one.
    fn reconnect(&mut self, user: usize) -> Result<(), Violation> {
        let client = &self.users[user];
        let (sender, reader, page) = (client.sender, client.reader, client.in_flight);
        if page > 0 && self.random.bool() {
            self.fact(Fact::Confirming { connection: reader, id: Id(page) })?;
            let cursor = self.users[user].cursor.max(page);
            self.users[user].cursor = cursor;
        }
        for connection in [sender, reader] {
            self.fact(Fact::Ended { connection, how: Ending::Lost })?;
        }
        let (sender, reader) = (self.connect(number(user)), self.connect(number(user)));
        let client = &mut self.users[user];
        (client.sender, client.reader) = (sender, reader);
        (client.in_flight, client.follows) = (0, 0);
        Ok(())
    }
}

fn number(user: usize) -> User {
    User(u32::try_from(user).unwrap())
}
