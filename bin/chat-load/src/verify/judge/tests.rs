//! Each promise, kept and broken, in the fewest facts.

use super::super::fact::Ending;
use super::super::verdict::Kind;
use super::*;

const ANN: User = User(0);
const BEN: User = User(1);
/// Ann's connection to send on, Ben's two to read on.
const SENDER: Connection = Connection(0);
const READER: Connection = Connection(1);
const OTHER: Connection = Connection(2);

/// Three connections to empty mailboxes whose newest id is 10.
struct Case {
    judge: Judge,
    sent: u32,
}

impl Case {
    fn new() -> Self {
        let mut case = Self { judge: Judge::default(), sent: 0 };
        for user in [ANN, BEN] {
            case.ok(Fact::Emptied { user, id: Id(10) });
        }
        for (connection, user) in [(SENDER, ANN), (READER, BEN), (OTHER, BEN)] {
            case.ok(Fact::Opened { connection, user });
        }
        case
    }

    fn take(&mut self, fact: Fact) -> Result<(), Why> {
        self.judge.take(&fact, "text").map_err(|violation| violation.why)
    }

    #[track_caller]
    fn ok(&mut self, fact: Fact) {
        assert_eq!(self.take(fact), Ok(()), "{fact:?}");
    }

    /// Ann sends Ben so many messages, and all are answered.
    fn send(&mut self, count: u32) {
        for _ in 0..count {
            let tag = self.attempt();
            self.ok(Fact::Answered { tag, connection: SENDER, repeat: false });
        }
    }

    fn attempt(&mut self) -> Tag {
        let tag = Tag(self.sent);
        self.sent += 1;
        self.ok(Fact::Sent { tag, connection: SENDER, to: BEN });
        tag
    }

    fn ask(&mut self, connection: Connection, via: Via) {
        self.ok(Fact::Asked { connection, via, resumes: false, after: Id::ZERO });
    }

    fn show(&mut self, connection: Connection, id: u32, tag: u32) -> Result<(), Why> {
        self.take(Fact::Shown { connection, via: Via::Peek, id: Id(id), tag: Tag(tag) })
    }

    /// Ben asks with `peek` and is shown this.
    fn peek(&mut self, shown: &[(u32, u32)]) -> Result<(), Why> {
        self.ask(READER, Via::Peek);
        shown.iter().try_for_each(|&(id, tag)| self.show(READER, id, tag))
    }

    fn confirm(&mut self, connection: Connection, id: u32) {
        self.ok(Fact::Confirming { connection, id: Id(id) });
        self.ok(Fact::Confirmed { connection, id: Id(id) });
    }

    fn finish(&mut self) -> Result<(), Why> {
        self.judge.finish().map_err(|violation| violation.why)
    }
}

fn kind(why: Why) -> Kind {
    Violation { why, user: BEN }.kind()
}

#[test]
fn what_was_answered_and_read_in_order_is_fine() {
    let mut case = Case::new();
    case.send(3);
    assert_eq!(case.peek(&[(11, 0), (12, 1), (13, 2)]), Ok(()));
    case.confirm(READER, 13);
    assert_eq!(case.finish(), Ok(()));
    assert_eq!((case.judge.counts().answered, case.judge.counts().read()), (3, 3));
}

#[test]
fn an_answered_message_must_be_there_in_the_end() {
    let mut case = Case::new();
    case.send(2);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    let why = case.finish().unwrap_err();
    assert_eq!(why, Why::NotThere { tag: Tag(1) });
    assert_eq!(kind(why), Kind::Lost);
}

#[test]
fn an_unanswered_message_may_be_there_or_not() {
    let mut case = Case::new();
    case.attempt();
    case.attempt();
    assert_eq!(case.peek(&[(11, 1)]), Ok(()));
    assert_eq!(case.finish(), Ok(()));
    assert_eq!(case.judge.messages().unanswered(), (2, 1));
}

#[test]
fn a_message_has_one_id() {
    let mut case = Case::new();
    case.attempt();
    let why = case.peek(&[(11, 0), (12, 0)]).unwrap_err();
    assert_eq!(why, Why::TwoIds { tag: Tag(0), ids: (Id(11), Id(12)) });
    assert_eq!(kind(why), Kind::Duplicated);
}

#[test]
fn an_id_is_one_message() {
    let mut case = Case::new();
    case.send(2);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    let why = case.peek(&[(11, 1)]).unwrap_err();
    assert_eq!(why, Why::ReusedId { id: Id(11), tags: (Tag(0), Tag(1)) });
    assert_eq!(kind(why), Kind::Duplicated);
}

#[test]
fn redelivery_is_counted_until_the_confirmation_was_answered_and_a_fault_after() {
    let mut case = Case::new();
    case.send(1);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    case.ask(OTHER, Via::Inbox);
    case.ok(Fact::Confirming { connection: READER, id: Id(11) });
    assert_eq!(case.peek(&[(11, 0)]), Ok(()), "not answered yet");
    case.ok(Fact::Confirmed { connection: READER, id: Id(11) });
    assert_eq!(case.show(OTHER, 11, 0), Ok(()), "asked for before");
    assert_eq!(case.judge.counts().redelivered, 2);
    let why = case.peek(&[(11, 0)]).unwrap_err();
    assert_eq!(why, Why::AfterConfirmation { id: Id(11), tag: Tag(0), confirmed: Id(11) });
    assert_eq!(kind(why), Kind::Duplicated);
}

#[test]
fn a_resumed_watch_gives_what_is_delivered_but_nothing_before_its_after() {
    let mut case = Case::new();
    case.send(2);
    assert_eq!(case.peek(&[(11, 0), (12, 1)]), Ok(()));
    case.confirm(READER, 12);
    let (connection, via, after) = (OTHER, Via::Watch, Id(11));
    case.ok(Fact::Asked { connection, via, resumes: true, after });
    case.ok(Fact::Watching { connection, after, gap: false });
    assert_eq!(case.show(OTHER, 12, 1), Ok(()));
    case.ok(Fact::Unwatched { connection });

    case.ok(Fact::Asked { connection, via, resumes: true, after });
    case.ok(Fact::Watching { connection, after, gap: false });
    assert_eq!(kind(case.show(OTHER, 11, 0).unwrap_err()), Kind::Duplicated);
}

#[test]
fn one_watch_gives_nothing_twice() {
    let mut case = Case::new();
    case.send(2);
    case.ask(READER, Via::Watch);
    case.ok(Fact::Watching { connection: READER, after: Id(10), gap: false });
    case.show(READER, 11, 0).unwrap();
    case.show(READER, 12, 1).unwrap();
    let why = case.show(READER, 12, 1).unwrap_err();
    assert_eq!(why, Why::Repeated { id: Id(12), tag: Tag(1) });
}

#[test]
fn ids_are_in_the_order_of_the_answers() {
    // Whether the answers or the ids are known first.
    for read_first in [true, false] {
        let mut case = Case::new();
        let tags = [case.attempt(), case.attempt()];
        let answer = |case: &mut Case| {
            tags.into_iter().try_for_each(|tag| {
                case.take(Fact::Answered { tag, connection: SENDER, repeat: false })
            })
        };
        let read = |case: &mut Case| case.peek(&[(11, 1), (12, 0)]);
        let why = if read_first {
            read(&mut case).and_then(|()| answer(&mut case))
        } else {
            answer(&mut case).and_then(|()| read(&mut case))
        };
        let why = why.unwrap_err();
        assert_eq!(why, Why::Overtaken { first: (Tag(0), Id(12)), second: (Tag(1), Id(11)) });
        assert_eq!(kind(why), Kind::Reordered);
    }
}

#[test]
fn order_is_promised_for_one_connection_and_first_attempts_only() {
    let mut case = Case::new();
    let (first, second) = (case.attempt(), case.attempt());
    case.ok(Fact::Answered { tag: first, connection: OTHER, repeat: false });
    case.ok(Fact::Answered { tag: second, connection: SENDER, repeat: false });
    let third = case.attempt();
    case.ok(Fact::Answered { tag: third, connection: SENDER, repeat: true });
    assert_eq!(case.peek(&[(11, 2), (12, 1), (13, 0)]), Ok(()));
}

#[test]
fn what_is_swapped_in_one_page_is_out_of_order() {
    let mut case = Case::new();
    case.send(3);
    let why = case.peek(&[(11, 0), (13, 2), (12, 1)]).unwrap_err();
    assert_eq!(why, Why::Backwards { id: Id(12), tag: Tag(1), behind: Id(13) });
    assert_eq!(kind(why), Kind::Reordered);
}

#[test]
fn nothing_is_passed_over_in_a_page() {
    let mut case = Case::new();
    case.send(3);
    assert_eq!(case.peek(&[(11, 0), (13, 2)]), Ok(()), "the next fact decides");
    let asked = Fact::Asked { connection: READER, via: Via::Peek, resumes: false, after: Id::ZERO };
    let why = case.take(asked).unwrap_err();
    assert_eq!(why, Why::Missing { from: Id(12), to: Id(12) });
    assert_eq!(kind(why), Kind::Hole);
}

#[test]
fn nothing_is_passed_over_before_a_page() {
    let mut case = Case::new();
    case.send(4);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    case.ok(Fact::Confirming { connection: READER, id: Id(11) });
    // Whether that was carried out is not known: both may come first.
    assert_eq!(case.peek(&[(12, 1)]), Ok(()));
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    assert_eq!(case.peek(&[(14, 3)]), Ok(()));
    let ended = Fact::Ended { connection: READER, how: Ending::Lost };
    assert_eq!(case.take(ended), Err(Why::Missing { from: Id(12), to: Id(13) }));
}

#[test]
fn the_next_inbox_follows_the_page_before() {
    let mut case = Case::new();
    case.send(3);
    let via = Via::Inbox;
    case.ask(READER, via);
    case.ok(Fact::Shown { connection: READER, via, id: Id(11), tag: Tag(0) });
    case.ask(READER, via);
    case.ok(Fact::Shown { connection: READER, via, id: Id(12), tag: Tag(1) });
    // Another connection still sees from the cursor on.
    case.ask(OTHER, via);
    case.ok(Fact::Shown { connection: OTHER, via, id: Id(12), tag: Tag(1) });
    assert_eq!(case.finish(), Err(Why::Missing { from: Id(11), to: Id(11) }));
}

#[test]
fn a_watch_that_skips_what_is_undelivered_is_a_hole_even_if_nothing_comes() {
    let mut case = Case::new();
    case.send(2);
    case.ask(READER, Via::Watch);
    let watching = Fact::Watching { connection: READER, after: Id(11), gap: false };
    assert_eq!(case.take(watching), Err(Why::Missing { from: Id(11), to: Id(11) }));
}

#[test]
fn an_announced_gap_is_no_hole() {
    let mut case = Case::new();
    let connection = READER;
    case.ok(Fact::Asked { connection, via: Via::Watch, resumes: true, after: Id(10) });
    case.ok(Fact::Watching { connection, after: Id(10), gap: false });
    case.ok(Fact::Gap { connection, from: Id(11), to: Id(12) });
    case.send(1);
    assert_eq!(case.show(READER, 13, 0), Ok(()));
    assert_eq!(case.finish(), Ok(()));
}

#[test]
fn an_id_that_nobody_saw_is_a_hole_in_the_end() {
    let mut case = Case::new();
    case.send(1);
    // In an incarnation that is not known from its start a page may begin anywhere.
    case.ok(Fact::Living { connection: READER, life: Life(1) });
    assert_eq!(case.peek(&[(12, 0)]), Ok(()));
    assert_eq!(case.finish(), Ok(()));
    let mut case = Case::new();
    case.send(2);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    case.confirm(OTHER, 12);
    case.send(1);
    assert_eq!(case.peek(&[(13, 2)]), Ok(()));
    assert_eq!(case.finish(), Err(Why::Missing { from: Id(12), to: Id(12) }));
}

#[test]
fn what_nobody_sent_is_invented() {
    let mut case = Case::new();
    let strange = Fact::Strange { connection: READER, via: Via::Peek, id: Id(11), text: 0 };
    let why = case.take(strange).unwrap_err();
    assert_eq!(why, Why::NeverSent { id: Id(11), text: "text".to_owned() });
    assert_eq!(kind(why), Kind::Invented);
}

#[test]
fn what_was_refused_must_not_be_there_unless_an_earlier_attempt_stored_it() {
    let mut case = Case::new();
    let tag = case.attempt();
    case.ok(Fact::Refused { tag, connection: SENDER });
    let why = case.peek(&[(11, 0)]).unwrap_err();
    assert_eq!(kind(why), Kind::Invented);

    let mut case = Case::new();
    let tag = case.attempt();
    case.ok(Fact::Sent { tag, connection: SENDER, to: BEN });
    case.ok(Fact::Refused { tag, connection: SENDER });
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
}

#[test]
fn another_incarnation_may_give_again_what_was_confirmed() {
    let mut case = Case::new();
    case.send(1);
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    case.confirm(READER, 11);
    case.ok(Fact::Living { connection: READER, life: Life(1) });
    assert_eq!(case.peek(&[(11, 0)]), Ok(()));
    assert_eq!(case.finish(), Ok(()));
}
