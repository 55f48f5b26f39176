//! What the journal holds after it was cut, damaged, filled up and trimmed.

#[cfg(unix)]
mod faults;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::segment::list;
use super::*;
use crate::account::PasswordHash;
use crate::store::engine::log::{
    AccountChange, AccountRow, BlockChange, ImportChange, Keyed, Record, SessionChange, SessionRow,
};
use crate::store::{AccountNumber, ImportId, Message, PostKey, PrivacyChoice, SessionKey};
use crate::{MessageId, Timestamp};

const STORE: [u8; 16] = [7; 16];
const BEGINNING: Mark = Mark { segment: 1, sequence: 1 };

struct Rig {
    directory: tempfile::TempDir,
    journal: Journal,
    was_relaxed: bool,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::create(&directory.path().join("journal"), STORE, 1).unwrap();
        Self { directory, journal, was_relaxed: false }
    }

    fn append(&mut self, records: Vec<Record>) -> Batch {
        let batch = Batch { first: self.journal.next, records, ..Batch::default() };
        self.journal.append(&batch).unwrap();
        batch
    }

    fn opening(&self, mark: Mark) -> Opening {
        let directory = self.directory.path().join("journal");
        let (needed_from, was_relaxed) = (u64::MAX, self.was_relaxed);
        Opening { directory, store: STORE, mark, start: 1, needed_from, was_relaxed }
    }

    fn open(&self, mark: Mark) -> Result<(Journal, Vec<Batch>), LogError> {
        Journal::look(self.opening(mark))?.open()
    }

    /// Which file keeps it from being opened, and why.
    fn damage(&self) -> (PathBuf, String) {
        match self.open(BEGINNING).unwrap_err() {
            LogError::Unreadable { file, reason, damaged: true } => (file, reason),
            error => panic!("{error}"),
        }
    }

    fn reopen(&mut self) {
        self.journal = self.open(BEGINNING).unwrap().0;
    }

    fn all(&self) -> Vec<Record> {
        self.journal.segments().expect(&[0, 1, self.journal.next / 2, u64::MAX]);
        let records = self.journal.segments().records(0, usize::MAX).unwrap();
        let first = self.journal.segments().start();
        assert!((first..).zip(&records).all(|(expected, (position, _))| expected == *position));
        for (position, record) in &records {
            assert_eq!(self.journal.segments().record(*position).unwrap().as_ref(), Some(record));
        }
        records.into_iter().map(|(_, record)| record).collect()
    }

    fn newest(&self) -> PathBuf {
        self.journal.name.path(&self.journal.directory)
    }

    /// The newest segment without the zeros behind its frames.
    fn frames(&self) -> Vec<u8> {
        let mut bytes = fs::read(self.newest()).unwrap();
        bytes.truncate(usize::try_from(self.journal.end).unwrap());
        bytes
    }

    fn segments(&self) -> usize {
        list(&self.journal.directory).unwrap().len()
    }
}

fn message(body: &str) -> Record {
    let message = Message {
        id: MessageId::new(300),
        time: Timestamp::from_millis(1_700_000_000_000),
        sender: AccountNumber(2),
        from: "messi".into(),
        from_name: "Lionel Messi".into(),
        body: body.into(),
    };
    Record::Message { mailbox: AccountNumber(1), message: Arc::new(message), key: None }
}

#[test]
fn only_the_very_file_is_taken_for_a_deleted_one() {
    let mut rig = Rig::new();
    rig.append(vec![message("one")]);
    let older = rig.frames();
    rig.append(vec![message("two")]);
    let whole = rig.frames();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::remove_file(rig.newest()).unwrap();
    let batch =
        Batch { first: rig.journal.next, records: vec![message("three")], ..Batch::default() };
    assert!(rig.journal.append(&batch).is_err());
    for wrong in [Vec::new(), older, other] {
        fs::write(rig.newest(), &wrong).unwrap();
        assert!(rig.journal.reopen().is_err());
        assert!(rig.journal.append(&batch).is_err());
        assert_eq!(fs::read(rig.newest()).unwrap(), wrong);
    }
    fs::write(rig.newest(), whole).unwrap();
    rig.journal.reopen().unwrap();
    rig.append(vec![message("three")]);
    rig.reopen();
    assert_eq!(rig.all().len(), 3);
}

#[test]
fn nothing_is_acknowledged_behind_a_hole() {
    let mut rig = Rig::new();
    rig.append(vec![message("one")]);
    File::options().write(true).open(rig.newest()).unwrap().set_len(0).unwrap();
    let batch =
        Batch { first: rig.journal.next, records: vec![message("two")], ..Batch::default() };
    assert!(rig.journal.append(&batch).is_err());
    assert!(rig.journal.check_newest().is_err());
    assert!(rig.journal.reopen().is_err());
    assert!(rig.journal.append(&batch).is_err());
}

#[test]
fn records_are_read_while_others_are_appended() {
    let mut rig = Rig::new();
    let batch = rig.append(vec![incarnation()]);
    let segments = rig.journal.segments().clone();
    let reader = std::thread::spawn(move || {
        for _ in 0..READS {
            assert!(segments.record(batch.first).unwrap().is_some());
        }
    });
    while !reader.is_finished() {
        rig.append(vec![incarnation()]);
    }
    reader.join().unwrap();
}

fn incarnation() -> Record {
    Record::Incarnation { mailbox: AccountNumber(1), time: Timestamp::from_millis(1) }
}

/// Enough that a reader who took the lock twice would meet a writer who waits for it in between.
const READS: usize = 20_000;

fn records() -> impl Strategy<Value = Record> {
    let time = || any::<i64>().prop_map(Timestamp::from_millis);
    let keyed = prop::option::of((any::<[u8; 16]>(), any::<[u8; 8]>()))
        .prop_map(|key| key.map(|(key, request)| Keyed { key: PostKey(key), request }));
    let message =
        (any::<[u64; 3]>(), time(), ".{0,300}", keyed).prop_map(|(ids, time, body, key)| {
            let [mailbox, id, sender] = ids;
            let (from, from_name) = (Arc::from("messi"), Arc::from(""));
            let (id, sender) = (MessageId::new(id), AccountNumber(sender));
            let message =
                Arc::new(Message { id, time, sender, from, from_name, body: body.into() });
            Record::Message { mailbox: AccountNumber(mailbox), message, key }
        });
    let bare =
        (any::<u64>(), any::<u64>(), time(), 0..5).prop_map(|(mailbox, upto, time, kind)| {
            let mailbox = AccountNumber(mailbox);
            let account = |change| Record::Account { account: mailbox, change, time };
            match kind {
                0 => Record::Cursor { mailbox, upto: MessageId::new(upto), time },
                1 => account(AccountChange::Created),
                2 => account(AccountChange::Changed),
                3 => account(AccountChange::Removed),
                _ => Record::Incarnation { mailbox, time },
            }
        });
    prop_oneof![message, bare]
}

proptest! {
    #[test]
    fn records_come_back_as_they_were(batches in prop::collection::vec(prop::collection::vec(records(), 0..6), 0..12)) {
        let mut rig = Rig::new();
        for batch in &batches {
            rig.append(batch.clone());
        }
        let expected: Vec<_> = batches.into_iter().flatten().collect();
        prop_assert_eq!(&rig.all(), &expected);
        rig.reopen();
        prop_assert_eq!(&rig.all(), &expected);
        rig.append(vec![message("and on")]);
        prop_assert_eq!(rig.all().len(), expected.len() + 1);
    }

    #[test]
    fn a_torn_frame_is_cut_off_and_nothing_before_it(cut in 1..400_usize, garbage in any::<bool>(), zeros in 0..500_usize) {
        let mut rig = Rig::new();
        let before = vec![message("one"), message("two")];
        rig.append(before.clone());
        let whole = rig.frames().len();
        rig.append(vec![message(&"x".repeat(200)), message(&"y".repeat(200))]);
        let mut bytes = rig.frames();
        let kept = bytes.len().saturating_sub(cut).max(whole);
        match garbage {
            true => bytes[kept..].fill(0),
            false => bytes.truncate(kept),
        }
        bytes.resize(bytes.len() + zeros, 0);
        fs::write(rig.newest(), bytes).unwrap();
        rig.reopen();
        prop_assert_eq!(rig.all(), before);
        prop_assert_eq!(fs::read(rig.newest()).unwrap().len(), whole);
        rig.append(vec![message("three")]);
        rig.reopen();
        prop_assert_eq!(rig.all().len(), 3);
    }
}

fn rows() -> Batch {
    let account = |number, key: Option<&str>, removed| AccountRow {
        number: AccountNumber(number),
        key: key.map(Into::into),
        username: "Messi".into(),
        name: "".into(),
        hash: PasswordHash::trusted("$argon2id$".into()),
        created: Timestamp::from_millis(-5),
        removed,
        import: removed.map(|_| ImportId(9)),
        receipts: PrivacyChoice::On,
        presence: PrivacyChoice::Off,
        blocks: 3,
    };
    let session = SessionRow {
        number: 5,
        account: AccountNumber(1),
        created: Timestamp::from_millis(1),
        last_used: Timestamp::from_millis(2),
    };
    let block = |on| BlockChange { account: AccountNumber(1), blocked: AccountNumber(2), on };
    Batch {
        first: 1,
        records: vec![message("with rows")],
        accounts: vec![
            account(1, Some("messi"), None),
            account(2, None, Some(Timestamp::from_millis(7))),
        ],
        sessions: vec![
            SessionChange::Put(SessionKey([1; 32]), session),
            SessionChange::Delete(SessionKey([2; 32])),
        ],
        blocks: vec![block(true), block(false)],
        imports: vec![
            ImportChange::Begin(ImportId(1), AccountNumber(4)),
            ImportChange::End(ImportId(1)),
        ],
        incarnation: Some([4; 16]),
    }
}

#[test]
fn rows_come_back_from_the_mark_on() {
    let mut rig = Rig::new();
    rig.journal.append(&rows()).unwrap();
    let mark = rig.journal.mark();
    let (_, owed) = rig.open(BEGINNING).unwrap();
    let [owed] = owed.try_into().unwrap();
    assert_eq!(format!("{owed:?}"), format!("{:?}", rows_of(&rows())));
    let (journal, owed) = rig.open(mark).unwrap();
    assert!(owed.is_empty());
    assert_eq!(journal.mark(), mark);
}

#[test]
fn what_is_damaged_inside_is_an_error_and_not_cut_off() {
    let mut rig = Rig::new();
    rig.append(vec![message("one")]);
    let at = usize::try_from(rig.journal.end).unwrap();
    rig.append(vec![message("two")]);
    rig.append(vec![message("three")]);
    let mut bytes = fs::read(rig.newest()).unwrap();
    bytes[at + 60] ^= 1;
    fs::write(rig.newest(), &bytes).unwrap();
    assert_eq!(
        rig.damage(),
        (rig.newest(), format!("at offset {at} is no whole batch, and whole ones follow"))
    );
    assert_eq!(fs::read(rig.newest()).unwrap(), bytes);
    // Without syncs a later frame may have been written before an earlier one.
    rig.was_relaxed = true;
    rig.reopen();
    assert_eq!(rig.all(), [message("one")]);
}

#[test]
fn a_segment_that_was_emptied_is_missed() {
    let mut rig = Rig::new();
    let refused = |rig: &Rig, mark| {
        let whole = fs::read(rig.newest()).unwrap();
        fs::write(rig.newest(), &whole[..HEAD]).unwrap();
        let refused = rig.open(mark).unwrap_err().to_string();
        assert!(refused.contains("which chat.db builds on"), "{refused}");
        fs::write(rig.newest(), whole).unwrap();
    };
    rig.append(vec![message("one")]);
    refused(&rig, rig.journal.mark());
    while rig.segments() < 3 {
        rig.append(vec![message(&"x".repeat(300))]);
    }
    refused(&rig, rig.journal.mark());
    // One that is empty because nothing was put into it yet is none of these.
    rig.journal.begin_segment().unwrap();
    let mark = rig.journal.mark();
    assert_eq!(rig.open(mark).unwrap().0.mark(), mark);
}

#[test]
fn of_segments_with_nothing_in_them_only_the_one_that_follows_counts() {
    let mut rig = Rig::new();
    rig.append(vec![message("one"), message("two")]);
    rig.journal.begin_segment().unwrap();
    let (real, kept) = (rig.newest(), rig.all());
    let withdrawn = Name { number: 2, first: rig.journal.next - 1 };
    let path = withdrawn.path(&rig.journal.directory);
    for real_is_there in [true, false] {
        fs::write(&path, segment::head(STORE, withdrawn)).unwrap();
        if !real_is_there {
            fs::remove_file(&real).unwrap();
        }
        rig.reopen();
        assert_eq!((rig.newest(), rig.all(), rig.segments()), (real.clone(), kept.clone(), 2));
    }
    // Also once there is something in the real one.
    rig.append(vec![message("three")]);
    fs::write(&path, segment::head(STORE, withdrawn)).unwrap();
    rig.reopen();
    assert_eq!((rig.all().len(), rig.segments()), (3, 2));
    // One with something in it is never taken for withdrawn.
    let before = list(&rig.journal.directory).unwrap()[0].path(&rig.journal.directory);
    let mut bytes = fs::read(&before).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&before, bytes).unwrap();
    assert_eq!(rig.damage().0, before);
}

#[test]
fn a_full_segment_is_followed_by_another_whatever_a_crash_leaves() {
    let mut rig = Rig::new();
    let body = "x".repeat(300);
    while rig.segments() < 4 {
        rig.append(vec![message(&body)]);
    }
    let count = rig.all().len();
    // The head of the newest was not written yet.
    rig.append(vec![message("last")]);
    let begun = Name { number: rig.journal.name.number + 1, first: rig.journal.next };
    fs::write(begun.path(&rig.journal.directory), [1, 2, 3]).unwrap();
    rig.reopen();
    assert_eq!(rig.all().len(), count + 1);
    // The newest was ended and no other begun.
    let mut bytes = rig.frames();
    segment::put_end(&mut bytes, &rig.journal.segments().newest_places());
    fs::write(rig.newest(), bytes).unwrap();
    rig.reopen();
    assert_eq!(rig.journal.name, begun);
    rig.append(vec![message("on")]);
    rig.reopen();
    assert_eq!(rig.all().len(), count + 2);
    // The index at the end of a full one is damaged: it is read whole.
    let first = list(&rig.journal.directory).unwrap()[0].path(&rig.journal.directory);
    let mut bytes = fs::read(&first).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    fs::write(&first, bytes).unwrap();
    assert_eq!(rig.all().len(), count + 2);
    // One in the middle is missed.
    let second = list(&rig.journal.directory).unwrap()[1].path(&rig.journal.directory);
    fs::remove_file(second).unwrap();
    assert_eq!(rig.damage().0, rig.journal.directory.join("00000002-*.journal"));
}

#[test]
fn small_frames_overwrite_zeros_that_the_next_start_cuts_off() {
    let mut rig = Rig::new();
    let size = |rig: &Rig| fs::metadata(rig.newest()).unwrap().len();
    rig.append(vec![message("one")]);
    let ahead = size(&rig);
    assert_eq!(ahead, rig.journal.end + AHEAD_BYTES);
    rig.append(vec![message("two")]);
    assert_eq!(size(&rig), ahead, "there was room");
    rig.append(vec![message(&"x".repeat(SMALL_BYTES))]);
    assert_eq!(size(&rig), rig.journal.end, "a large one has nothing behind it");
    rig.append(vec![message("three")]);
    // A crash leaves its end behind it, but not that the file ends there.
    let mut bytes = rig.frames();
    segment::put_end(&mut bytes, &rig.journal.segments().newest_places());
    bytes.resize(bytes.len() + 300, 0);
    fs::write(rig.newest(), bytes).unwrap();
    let (number, end) = (rig.journal.name.number, rig.journal.end);
    rig.reopen();
    assert_eq!((rig.journal.name.number, size(&rig)), (number, end));
    assert_eq!(rig.all().len(), 4);
}

#[test]
fn what_is_taken_back_never_was() {
    let mut rig = Rig::new();
    rig.append(vec![message("one")]);
    rig.append(vec![message("taken back"), message("too")]);
    rig.journal.undo().unwrap();
    rig.append(vec![message("two")]);
    assert_eq!(rig.all(), [message("one"), message("two")]);
    rig.reopen();
    assert_eq!(rig.all(), [message("one"), message("two")]);
}

#[test]
fn after_a_failure_it_goes_on_behind_what_counts() {
    for sync in [true, false] {
        let mut rig = Rig::new();
        rig.journal.set_sync(sync);
        rig.append(vec![message("one")]);
        rig.append(vec![message("two")]);
        fs::OpenOptions::new()
            .append(true)
            .open(rig.newest())
            .and_then(|mut file| file.write_all(b"of a write that failed"))
            .unwrap();
        rig.journal.reopen().unwrap();
        rig.append(vec![message("three")]);
        rig.reopen();
        assert_eq!(rig.all(), [message("one"), message("two"), message("three")]);
    }
}

#[test]
fn what_is_trimmed_is_gone_and_its_files_after_it() {
    let mut rig = Rig::new();
    let body = "x".repeat(300);
    while rig.segments() < 4 {
        rig.append(vec![message(&body)]);
    }
    let next = rig.journal.next;
    assert!(!rig.journal.trim(3, 3));
    assert_eq!(u64::try_from(rig.all().len()), Ok(next - 3));
    assert_eq!(rig.journal.segments().record(2).unwrap(), None);
    assert_eq!(rig.segments(), 4);
    assert!(!rig.journal.trim(next, 1));
    assert_eq!(rig.journal.segments().record(2).unwrap(), None);
    assert!(rig.journal.segments().posted(2).unwrap().is_some(), "it is still needed");
    assert!(rig.journal.trim(next, next));
    rig.journal.drop_gone();
    assert_eq!(rig.segments(), 1);
    assert!(rig.all().is_empty());
    rig.append(vec![message("on")]);
    assert_eq!(rig.all(), [message("on")]);
    assert!(rig.open(BEGINNING).is_err(), "what the mark is from is gone");
    let (journal, _) = rig.open(rig.journal.mark()).unwrap();
    assert_eq!(journal.next, next + 1);
}

#[test]
fn a_journal_of_another_store_is_refused() {
    let mut rig = Rig::new();
    rig.append(vec![message("one")]);
    let opening = Opening { store: [8; 16], ..rig.opening(BEGINNING) };
    assert!(Journal::look(opening).is_err());
}

#[test]
fn a_frame_whose_sync_failed_is_gone_once_the_journal_is_open_again() {
    let mut rig = Rig::new();
    rig.append(vec![message("kept")]);
    let batch =
        Batch { first: rig.journal.next, records: vec![message("lost")], ..Batch::default() };
    rig.journal.set_sync(true);
    assert!(rig.journal.write(&batch).unwrap().is_some());
    assert!(rig.journal.end_append(Err(io::Error::other("no sync"))).is_err());
    rig.journal.reopen().unwrap();
    rig.append(vec![message("later")]);
    assert_eq!(rig.all(), [message("kept"), message("later")]);
    rig.reopen();
    assert_eq!(rig.all(), [message("kept"), message("later")]);
}
