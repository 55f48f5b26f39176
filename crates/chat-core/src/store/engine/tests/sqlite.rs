//! What only the real engine shows: files, locks, sizes.

use std::fs;

use super::rig::{Rig, TestClock, any_hash, bodies, copy_store, options, remove_store, session_of};
use crate::store::engine::SqliteLog;
use crate::store::engine::index::{Entry, IndexRow};
use crate::store::engine::log::{Log, RunChange, Slice};
use crate::store::request::Operation;
use crate::store::{
    AccountNumber, Durability, Incarnation, OpenError, SqliteOptions, Store, StoreOptions,
};

fn open(directory: &tempfile::TempDir) -> Result<SqliteLog, OpenError> {
    SqliteLog::open(SqliteOptions::new(directory.path()))
}

/// Makes the account if there is none.
fn incarnation_of_messi(rig: &mut Rig<SqliteLog>) -> Incarnation {
    let _ = rig.try_join("messi");
    let account = rig.engine.live_account("messi").unwrap().number;
    rig.engine.incarnation(account).unwrap()
}

#[test]
fn one_directory_serves_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Locked { .. })));
    // It takes more than deleting a file for two of them to write to one journal.
    fs::remove_file(directory.path().join("lock")).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Locked { .. })));
    drop(first);
    open(&directory).unwrap();
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.db");
    fs::write(&file, "this is not a database, and it is longer than a header of one hundred bytes would be, or so").unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Foreign { .. })));
    fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(other);
    assert!(matches!(open(&directory), Err(OpenError::Foreign { .. })));
    fs::remove_file(&file).unwrap();
    drop(Rig::new(open(&directory).unwrap(), TestClock::default()));
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Newer { found: 99, .. })));
}

#[test]
fn a_header_of_an_unknown_format_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory).unwrap().close().unwrap();
    let file = directory.path().join("chat.db");
    let mut bytes = fs::read(&file).unwrap();
    // The schema format number (sqlite.org/fileformat2.html, "The Database Header").
    bytes[44..48].fill(0xff);
    fs::write(&file, bytes).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Damaged { path, .. }) if path == file));
}

#[test]
fn a_store_whose_file_went_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Rig::new(open(&directory).unwrap(), TestClock::default()));
    let file = directory.path().join("chat.db");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Missing { .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Missing { .. })));
    fs::remove_file(directory.path().join("lock")).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Missing { .. })), "its messages are there");
    assert!(!file.exists(), "it was found so");
    fs::remove_dir_all(directory.path().join("journal")).unwrap();
    open(&directory).unwrap();
}

#[test]
fn a_database_without_its_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    let messi = rig.join("messi");
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    copy_store(directory.path(), older.path());
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    rig.send(messi, "messi", "newer").unwrap();
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    let journal = directory.path().join("journal");
    fs::remove_dir_all(&journal).unwrap();
    let damaged = || match open(&directory).unwrap_err() {
        OpenError::Damaged { path, .. } => path,
        error => panic!("{error}"),
    };
    assert_eq!(damaged(), journal.join("00000001-*.journal"));
    fs::rename(older.path().join("journal"), &journal).unwrap();
    assert_eq!(
        damaged(),
        journal.join(fs::read_dir(&journal).unwrap().next().unwrap().unwrap().file_name())
    );
}

#[test]
fn an_old_file_that_is_gone_stops_nobody_but_who_asks_for_what_was_in_it() {
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let options = StoreOptions { mailbox_bytes: 1_000_000, ..options(&clock) };
    let mut rig = Rig::with(open(&directory).unwrap(), clock, &options).unwrap();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let waiting: Vec<_> = (0..10).map(|n| format!("{n}{}", "x".repeat(500))).collect();
    for text in &waiting {
        rig.send(messi, "lineker", text).unwrap();
    }
    let entries = fs::read_dir(directory.path().join("journal")).unwrap();
    let oldest = entries.map(|entry| entry.unwrap().path()).min().unwrap();
    let aside = directory.path().join("aside");
    fs::rename(&oldest, &aside).unwrap();
    // Not even when all in it is old enough to go.
    for _ in 0..2 {
        rig.clock.advance(20 * DAY);
        rig.work(1_000);
        rig.send(messi, "messi", "goes on").unwrap();
        assert_eq!(rig.peek_all(lineker).unwrap_err(), crate::store::StoreError::Unavailable);
        rig.take(messi, 10).unwrap();
    }
    rig = rig.restart_with(&options);
    rig.work(1_000);
    rig.send(messi, "messi", "goes on").unwrap();
    assert_eq!(rig.peek_all(lineker).unwrap_err(), crate::store::StoreError::Unavailable);
    fs::rename(&aside, &oldest).unwrap();
    rig = rig.restart_with(&options);
    rig.work(1_000);
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), waiting);
}

#[test]
fn a_damaged_database_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    drop(Rig::new(open(&directory).unwrap(), TestClock::default()));
    let file = directory.path().join("chat.db");
    let mut bytes = fs::read(&file).unwrap();
    let (header, pages) = bytes.split_at_mut(100);
    pages.fill(0xff);
    assert!(header.starts_with(b"SQLite"));
    fs::write(&file, bytes).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Damaged { path, .. }) if path == file));
}

/// Makes a store in whose write-ahead log that was done to the tables, and opens it.
async fn open_damaged(damage: &str) -> (OpenError, bool) {
    let made = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(open(&made).unwrap(), TestClock::default());
    let messi = rig.join("messi");
    for n in 0..20 {
        rig.post(messi, &format!("key{n}"), "messi", "x").unwrap();
        rig.take_all("messi");
    }
    rig.work(1_000);
    rig.engine.log.execute(damage);
    let copy = tempfile::tempdir().unwrap();
    copy_store(made.path(), copy.path());
    let log = copy.path().join("chat.db-wal");
    fs::copy(made.path().join("chat.db-wal"), &log).unwrap();
    let read = || [fs::read(copy.path().join("chat.db")).unwrap(), fs::read(&log).unwrap()];
    let before = read();
    let sqlite = SqliteOptions::new(copy.path());
    let error = Store::open(sqlite, StoreOptions::default()).await.unwrap_err();
    (error, read() == before)
}

#[tokio::test]
async fn damaged_rows_that_a_start_needs_are_refused_as_they_are() {
    for damage in [
        "UPDATE runs SET filter = x'ff'",
        "UPDATE runs SET filter = zeroblob(length(filter) + 8) WHERE kind = 4",
        "UPDATE runs SET kind = 9",
        "UPDATE runs SET entries = -1",
        "UPDATE sessions SET key = x'00'",
        "UPDATE incarnations SET name = x'00'",
        "UPDATE meta SET value = x'00' WHERE name = 'secret'",
        "UPDATE meta SET value = 'much' WHERE name = 'covered'",
        "DELETE FROM meta WHERE name = 'segment'",
        "DROP TABLE imports",
    ] {
        let (error, is_as_it_was) = open_damaged(damage).await;
        let OpenError::Damaged { path, .. } = &error else { panic!("{damage}: {error}") };
        assert!(path.ends_with("chat.db"), "{damage}: {error}");
        assert!(is_as_it_was, "{damage}");
    }
}

#[test]
fn an_older_database_catches_up_with_its_journal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.db");
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    let messi = rig.join("messi");
    rig.send(messi, "messi", "one").unwrap();
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    fs::copy(&file, directory.path().join("older.db")).unwrap();
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    let lineker = rig.join("lineker");
    for n in 0..10 {
        rig.send(lineker, "messi", &format!("{n}")).unwrap();
        rig.work(3);
    }
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    fs::rename(directory.path().join("older.db"), &file).unwrap();
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    assert_eq!(rig.peek_all(messi).unwrap().len(), 11);
    rig.send(messi, "lineker", "who joined after it").unwrap();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["who joined after it"]);
}

#[test]
fn nothing_is_acknowledged_once_the_directory_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.send(messi, "lineker", "before").unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    for _ in 0..3 {
        let refused = rig.send(messi, "lineker", "nowhere to keep it");
        assert_eq!(refused, Err(crate::store::StoreError::Unavailable));
        assert!(rig.peek_all(lineker).is_err());
        rig.work(1);
    }
    assert!(!directory.path().exists());
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    fs::write(&path, "").unwrap();
    assert!(matches!(SqliteLog::open(SqliteOptions::new(&path)), Err(OpenError::Directory { .. })));
}

#[cfg(unix)]
#[test]
fn the_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    drop(SqliteLog::open(SqliteOptions::new(&path)).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn incarnations_change_only_after_an_unclean_stop_while_durability_was_relaxed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteOptions::new(directory.path());
    let incarnation = |sqlite: &SqliteOptions, clean: bool| {
        let mut rig = Rig::new(SqliteLog::open(sqlite.clone()).unwrap(), TestClock::default());
        let name = incarnation_of_messi(&mut rig);
        if clean {
            crate::store::backend::Backend::close(&mut rig.engine).unwrap();
        }
        name
    };
    let first = incarnation(&sqlite, false);
    assert_eq!(incarnation(&sqlite, true), first);
    sqlite.durability = Durability::ProcessCrash;
    assert_eq!(incarnation(&sqlite, true), first);
    assert_eq!(incarnation(&sqlite, false), first);
    let second = incarnation(&sqlite, true);
    assert_ne!(second, first);
    assert_eq!(incarnation(&sqlite, true), second);
}

#[test]
fn a_copy_put_in_place_of_the_original_begins_a_new_incarnation() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let incarnation = || {
        let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
        let name = incarnation_of_messi(&mut rig);
        crate::store::backend::Backend::close(&mut rig.engine).unwrap();
        name
    };
    let first = incarnation();
    assert_eq!(incarnation(), first);
    copy_store(directory.path(), copy.path());
    assert_eq!(incarnation(), first);
    remove_store(directory.path());
    copy_store(copy.path(), directory.path());
    let second = incarnation();
    assert_ne!(second, first);
    assert_eq!(incarnation(), second);
}

#[tokio::test(start_paused = true)]
async fn a_full_database_refuses_writes_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.mailbox_messages = 1_000;
    options.mailbox_bytes = 1_000_000;
    let mut rig = Rig::with(open(&directory).unwrap(), clock, &options).unwrap();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.send(messi, "lineker", "before").unwrap();
    let pages: i64 = rig.engine.log.pragma("page_count");
    rig.engine.log.set_pragma("max_page_count", pages);
    // An account's row goes into the database with its commit.
    let full = (0..300).find_map(|n| rig.try_join(&format!("user{n}")).err());
    assert_eq!(full, Some(crate::store::StoreError::NoSpace));
    assert!(rig.send(messi, "lineker", "refused").is_err());
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap())[0], "before");
    rig.engine.log.set_pragma("max_page_count", 1_000_000);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.work(1);
    rig.send(messi, "lineker", "after").unwrap();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["before", "after"]);
    for n in 0..300 {
        let _ = rig.try_join(&format!("user{n}"));
    }
    rig = rig.restart();
    assert!((0..300).all(|n| rig.engine.live_account(&format!("user{n}")).is_ok()));
}

#[test]
fn the_write_ahead_log_stays_within_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteOptions::new(directory.path());
    sqlite.wal_bytes = 1024 * 1024;
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.stretch = 7;
    options.mailbox_messages = 1_000_000;
    options.mailbox_bytes = 1_000_000_000;
    let mut rig = Rig::with(SqliteLog::open(sqlite).unwrap(), clock, &options).unwrap();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let wal = directory.path().join("chat.db-wal");
    let size = || fs::metadata(&wal).unwrap().len();
    let body = "x".repeat(2_000);
    let fill = |rig: &mut Rig<SqliteLog>| {
        let mut largest = 0;
        for n in 0..600 {
            rig.send(messi, "lineker", &body).unwrap();
            rig.work(100);
            if n % 50 == 0 {
                rig.peek_all(lineker).unwrap();
            }
            largest = largest.max(size());
        }
        largest
    };
    // The index of 600 messages, put a few at a time, writes several times the bound. Between two looks the log may pass it a little.
    let bound = 2 * 1024 * 1024;
    assert!(fill(&mut rig) < bound);
    // A reader that stalls in the middle of a page holds it back, and nobody else; when it is gone so is the excess.
    let stalled = rusqlite::Connection::open(directory.path().join("chat.db")).unwrap();
    stalled.execute_batch("BEGIN; SELECT count(*) FROM heads").unwrap();
    assert!(fill(&mut rig) > bound);
    stalled.execute_batch("COMMIT").unwrap();
    for _ in 0..32 {
        rig.send(messi, "lineker", &body).unwrap();
        rig.work(100);
    }
    assert!(size() < bound);
}

#[test]
fn a_store_that_did_nothing_closes_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
        rig.work(1);
        rig.engine.log.close().unwrap();
    }
}

/// A reader may hold the write lock for a moment (see `write::lock`). What was read before in the same transaction must not
/// make a failure of it.
#[test]
fn a_lock_that_somebody_holds_for_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    rig.join("messi");
    rig.work(100);
    let (held, is_held) = std::sync::mpsc::channel();
    let file = directory.path().join("chat.db");
    let other = std::thread::spawn(move || {
        let other = rusqlite::Connection::open(file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        held.send(()).unwrap();
        // It waits for the lock whether it is given back now or later.
        std::thread::sleep(std::time::Duration::from_millis(20));
        other.execute_batch("ROLLBACK").unwrap();
    });
    is_held.recv().unwrap();
    // Whether the name is taken is read before the account is written.
    rig.join("lineker");
    other.join().unwrap();
}

#[test]
fn a_store_of_the_first_version_opens_with_all_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let old = SqliteLog::make_first(directory.path());
    let insert = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        assert_eq!(old.execute(sql, values).unwrap(), 1, "{sql}");
    };
    let hash = any_hash();
    for (number, name) in [(1, "messi"), (2, "lineker")] {
        let values: &[&dyn rusqlite::ToSql] = &[&number, &name, &hash.as_str()];
        insert("INSERT INTO accounts VALUES (?1, ?2, ?2, ?2, ?3, 0, NULL, NULL)", values);
        let key = session_of(AccountNumber(number)).0;
        insert("INSERT INTO sessions VALUES (?1, ?2, ?2, 0, 0)", &[&key, &number]);
    }
    insert("INSERT INTO incarnations VALUES (1, ?1)", &[&[5_u8; 16]]);
    // The first was parked, the second is in the index, the third only in the log. The second is half delivered: its
    // cursor moved, which the head does not know.
    let row = IndexRow {
        first: 2,
        entries: vec![Entry { position: 2, sender: AccountNumber(1), size: 6 }],
    };
    insert("INSERT INTO parked VALUES (2, 1, 100, 1, 'messi', 'messi', 'parked')", &[]);
    insert("INSERT INTO mailbox_index VALUES (2, 0, ?1)", &[&row.encode()]);
    insert("INSERT INTO heads VALUES (2, 2, 0, 12, 0, 2)", &[]);
    insert("UPDATE meta SET value = 2 WHERE name = 'covered'", &[]);
    for (position, body) in [(2, "second"), (3, "third.")] {
        let values: &[&dyn rusqlite::ToSql] = &[&position, &body];
        insert("INSERT INTO log VALUES (?1, 0, 2, ?1, 200, 1, 'messi', 'messi', ?2)", values);
    }
    insert("INSERT INTO log VALUES (4, 1, 2, 1, 300, NULL, NULL, NULL, NULL)", &[]);
    old.close().unwrap();

    let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
    let (messi, lineker) = (session_of(AccountNumber(1)), session_of(AccountNumber(2)));
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["second", "third."]);
    rig.send(messi, "lineker", "fourth").unwrap();
    for _ in 0..2 {
        assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["second", "third.", "fourth"]);
        rig.work(100);
        rig = rig.restart();
    }
    rig.run(Operation::Block { session: lineker, username: "messi".into(), on: true }).unwrap();
    let refused = rig.send(messi, "lineker", "fifth");
    assert_eq!(refused, Err(crate::store::StoreError::NotAllowed));
    assert_eq!(rig.engine.log.pragma("user_version"), 7);
}

#[test]
fn a_run_of_keys_that_cannot_be_read_stops_nobody_but_who_asks_for_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let begin = || Rig::new(open(&directory).unwrap(), TestClock::default());
    let mut rig = begin();
    let messi = rig.join("messi");
    rig.join("well");
    for key in 0..20 {
        rig.post(messi, &format!("key{key}"), "well", "x").unwrap();
        rig.take_all("well");
    }
    rig.work(1_000);
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    let damage = "UPDATE run_entries SET entries = x'ff' WHERE block IN
        (SELECT block FROM run_blocks JOIN runs ON run = number WHERE kind = 4)";
    let database = rusqlite::Connection::open(directory.path().join("chat.db")).unwrap();
    assert_ne!(database.execute(damage, []).unwrap(), 0);
    drop(database);
    let mut rig = begin();
    rig.work(1_000);
    let runs = &rig.engine.state.as_ref().unwrap().runs;
    assert_ne!(runs.alone(), 0);
    assert!(!rig.post(messi, "another", "well", "x").unwrap().duplicate);
    assert!(rig.post(messi, "key1", "well", "x").is_err());
}

/// 4,000 bytes less one, and the longest entry (`runs::block`).
#[test]
fn the_largest_block_of_a_run_takes_one_page() {
    const BLOCKS: u8 = 200;
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory).unwrap();
    let block = |n: u8| RunChange::Block {
        run: 1,
        first: [n; 24].into(),
        entries: vec![n; 3_999 + 57].into(),
    };
    let before = log.pragma("page_count");
    let slice = Slice { runs: (0..BLOCKS).map(block).collect(), ..Slice::default() };
    log.put(&slice).unwrap();
    let pages = log.pragma("page_count") - before;
    assert!((200..220).contains(&pages), "{pages}");
}

#[test]
fn runs_of_the_fifth_version_are_read_on() {
    let directory = tempfile::tempdir().unwrap();
    let begin = || Rig::new(open(&directory).unwrap(), TestClock::default());
    let mut rig = begin();
    let messi = rig.join("messi");
    rig.join("well");
    for n in 0..60 {
        rig.post(messi, &format!("key{n}"), "well", &format!("m{n}")).unwrap();
        rig.take_all("well");
    }
    rig.work(1_000);
    crate::store::backend::Backend::close(&mut rig.engine).unwrap();
    drop(rig);
    let database = rusqlite::Connection::open(directory.path().join("chat.db")).unwrap();
    database.execute_batch(BACK_TO_THE_FIFTH).unwrap();
    let blocks: u64 =
        database.query_row("SELECT count(*) FROM run_blocks", [], |row| row.get(0)).unwrap();
    assert!(blocks > 10, "{blocks}");
    drop(database);

    let mut rig = begin();
    assert_eq!(rig.engine.log.pragma("user_version"), 7);
    let expected: Vec<_> = (0..60).map(|n| format!("m{n}")).collect();
    for _ in 0..2 {
        let said = rig.whole_history(messi, "well", 10).unwrap();
        assert_eq!(said.iter().map(|entry| &*entry.message.body).collect::<Vec<_>>(), expected);
        for n in 0..60 {
            let again = rig.post(messi, &format!("key{n}"), "well", &format!("m{n}")).unwrap();
            assert!(again.duplicate, "key{n}");
        }
        // Merges the old ones and drops them.
        rig.work(1_000);
    }
}

/// What version 6 did to a file, the other way.
const BACK_TO_THE_FIFTH: &str = "
    ALTER TABLE run_blocks RENAME TO new_run_blocks;
    CREATE TABLE run_blocks (
        run INTEGER NOT NULL,
        first BLOB NOT NULL,
        entries BLOB NOT NULL,
        PRIMARY KEY (run, first)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO run_blocks
        SELECT run, first, entries FROM new_run_blocks JOIN run_entries USING (block);
    DROP TABLE new_run_blocks;
    DROP TABLE run_entries;
    PRAGMA user_version = 5;
";
