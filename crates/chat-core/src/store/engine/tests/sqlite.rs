//! What only the real engine shows: files, locks, sizes.

use std::fs;

use super::rig::{Rig, TestClock, bodies, options};
use crate::store::engine::SqliteLog;
use crate::store::{Durability, Incarnation, OpenError, SqliteOptions};

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
fn a_store_whose_file_went_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Rig::new(open(&directory).unwrap(), TestClock::default()));
    let file = directory.path().join("chat.db");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Missing { .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Missing { .. })));
    fs::remove_file(&file).unwrap();
    fs::remove_file(directory.path().join("lock")).unwrap();
    open(&directory).unwrap();
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
    let file = directory.path().join("chat.db");
    let incarnation = || {
        let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
        let name = incarnation_of_messi(&mut rig);
        crate::store::backend::Backend::close(&mut rig.engine).unwrap();
        name
    };
    let first = incarnation();
    assert_eq!(incarnation(), first);
    fs::copy(&file, directory.path().join("backup.db")).unwrap();
    assert_eq!(incarnation(), first);
    fs::rename(directory.path().join("backup.db"), &file).unwrap();
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
    let full = (0..100).find_map(|_| rig.send(messi, "lineker", &"x".repeat(400)).err());
    assert_eq!(full, Some(crate::store::StoreError::Unavailable));
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap())[0], "before");
    rig.engine.log.set_pragma("max_page_count", 1_000_000);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.work(1);
    rig.send(messi, "lineker", "after").unwrap();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()).last(), Some(&"after"));
}

#[test]
fn the_write_ahead_log_stays_within_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteOptions::new(directory.path());
    sqlite.wal_bytes = 1024 * 1024;
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.stretch = 500;
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
            rig.work(2);
            if n % 50 == 0 {
                rig.peek_all(lineker).unwrap();
            }
            largest = largest.max(size());
        }
        largest
    };
    // 600 messages of 2,000 bytes write several times the bound. Between two looks the log may pass it a little.
    let bound = 2 * 1024 * 1024;
    assert!(fill(&mut rig) < bound);
    // A reader that stalls in the middle of a page holds it back, and nobody else; when it is gone so is the excess.
    let stalled = rusqlite::Connection::open(directory.path().join("chat.db")).unwrap();
    stalled.execute_batch("BEGIN; SELECT count(*) FROM log").unwrap();
    assert!(fill(&mut rig) > bound);
    stalled.execute_batch("COMMIT").unwrap();
    for _ in 0..32 {
        rig.send(messi, "lineker", &body).unwrap();
    }
    assert!(size() < bound);
}

#[test]
fn a_store_that_did_nothing_closes_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut rig = Rig::new(open(&directory).unwrap(), TestClock::default());
        rig.work(1);
        crate::store::engine::log::Log::close(&mut rig.engine.log).unwrap();
    }
}
