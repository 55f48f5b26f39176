use super::*;

/// Names and contents that can be left after these events, from many tries.
fn outcomes(events: &[Event]) -> Vec<String> {
    let disk = disk_after(events);
    let mut random = Rng::with_seed(1);
    let mut outcomes: Vec<_> = (0..200)
        .map(|_| {
            let mood = Mood::any(&mut random);
            shown(&disk.after_power_loss(mood, &mut random))
        })
        .collect();
    outcomes.sort();
    outcomes.dedup();
    outcomes
}

fn disk_after(events: &[Event]) -> Disk {
    let mut disk = Disk::new("/r".into());
    for event in events {
        disk.apply(&Record { event: event.clone(), thread: 1 });
    }
    disk
}

fn shown(image: &Image) -> String {
    let directories = image.directories.iter().map(|path| format!("{}/", path.display()));
    let files = image
        .files
        .iter()
        .map(|file| format!("{}={}", file.path.display(), String::from_utf8_lossy(&file.content)));
    directories.chain(files).collect::<Vec<_>>().join(" ")
}

fn create(path: &str, inode: u64) -> Event {
    Event::Create { inode, path: path.into() }
}

fn write(path: &str, inode: u64, text: &str) -> Event {
    Event::Write { inode, path: path.into(), offset: 0, data: text.into() }
}

fn sync(path: &str, inode: u64) -> [Event; 2] {
    [begin(path, inode), end(path, inode, 0)]
}

fn begin(path: &str, inode: u64) -> Event {
    Event::SyncBegin { inode, path: path.into() }
}

fn end(path: &str, inode: u64, error: i32) -> Event {
    Event::SyncEnd { inode, path: path.into(), error }
}

fn chain<const N: usize>(parts: [&[Event]; N]) -> Vec<Event> {
    parts.concat()
}

#[test]
fn nothing_is_sure_before_a_sync() {
    let events = [create("/r/a", 1), write("/r/a", 1, "x")];
    assert_eq!(outcomes(&events), ["", "a=", "a=\0", "a=x"]);
}

#[test]
fn a_synced_file_is_sure_with_its_name() {
    let made = [create("/r/a", 1), write("/r/a", 1, "x")];
    assert_eq!(outcomes(&chain([&made, &sync("/r/a", 1)])), ["a=x"]);
    assert_eq!(
        outcomes(&chain([&made, &sync("/r/a", 1), &[write("/r/a", 1, "y")]])),
        ["a=x", "a=y"]
    );
}

#[test]
fn a_sync_covers_what_came_before_it_began_and_only_if_it_worked() {
    let made = chain([&[create("/r/a", 1)], &sync("/r", 9)]);
    let late = [begin("/r/a", 1), write("/r/a", 1, "x"), end("/r/a", 1, 0)];
    let failed = [write("/r/a", 1, "x"), begin("/r/a", 1), end("/r/a", 1, 5)];
    let under_way = [write("/r/a", 1, "x"), begin("/r/a", 1)];
    for events in [&late[..], &failed, &under_way] {
        assert_eq!(outcomes(&chain([&made, events])), ["a=", "a=\0", "a=x"]);
    }
}

#[test]
fn names_are_kept_in_order() {
    let file = |path, inode| chain([&[create(path, inode)], &sync(path, inode)]);
    let renamed = [
        Event::Rename { path: "/r/a".into(), to: "/r/c".into() },
        Event::Unlink { path: "/r/b".into() },
    ];
    let events = chain([&file("/r/a", 1), &file("/r/b", 2), &renamed]);
    assert_eq!(outcomes(&events), ["a= b=", "b= c=", "c="]);
    assert_eq!(outcomes(&chain([&events, &sync("/r", 9)])), ["c="]);
}

#[test]
fn a_directory_is_lost_with_all_that_is_in_it() {
    let made = [Event::MakeDirectory { path: "/r/d".into() }, create("/r/d/a", 1)];
    let inner = chain([&made, &sync("/r/d/a", 1), &sync("/r/d", 2)]);
    assert_eq!(outcomes(&inner), ["", "d/ d/a="]);
    assert_eq!(outcomes(&chain([&inner, &sync("/r", 9)])), ["d/ d/a="]);
}

#[test]
fn an_inode_used_again_is_another_file() {
    let old = chain([&[create("/r/a", 1), write("/r/a", 1, "x")], &sync("/r/a", 1)]);
    let gone = chain([&[Event::Unlink { path: "/r/a".into() }], &sync("/r", 9)]);
    let new = chain([&[create("/r/b", 1)], &sync("/r/b", 1)]);
    assert_eq!(outcomes(&chain([&old, &gone, &new])), ["b="]);
}

#[test]
fn what_a_killed_process_did_last_is_taken_from_its_files() {
    let mut disk = disk_after(&[create("/r/a", 1), write("/r/a", 1, "abcdef")]);
    let left = BTreeMap::from([(PathBuf::from("/r/a"), b"abXYe".to_vec())]);
    assert_ne!(disk.contents(), left);
    disk.process_ended(&left);
    assert_eq!(disk.contents(), left);
}

#[test]
#[should_panic(expected = "/r/chat.db is mapped")]
fn a_mapping_is_refused() {
    disk_after(&[Event::Map { path: "/r/chat.db-shm".into() }]);
    disk_after(&[Event::Map { path: "/r/chat.db".into() }]);
}
