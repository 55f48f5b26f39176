//! Records daemons under load, one after another in one data directory, and reads the recording.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_tests::daemon::{Daemon, Site};
use chat_tests::disk::files_below;
use chat_tests::recorder::{Record, Recorder, read_log};
use chat_tests::within;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::load::{PARTS, PEOPLE, Part, People, drain, sign_up};
use super::talk::{Conversation, Talker};

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// In order.
    Stop,
    /// By SIGKILL, in the middle of it.
    Kill,
}

/// All that is known of a recorded run.
#[derive(Debug)]
pub(super) struct Recording {
    /// Of all daemons.
    pub(super) records: Vec<Record>,
    pub(super) lives: Vec<Life>,
    pub(super) conversations: Vec<Conversation>,
}

/// One daemon from its start to its end.
#[derive(Debug)]
pub(super) struct Life {
    /// Where they are.
    pub(super) records: Range<usize>,
    pub(super) end: End,
    /// The files when it was gone.
    pub(super) left: BTreeMap<PathBuf, Vec<u8>>,
}

/// What [`record`] notes of a run beside the recorder's logs.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    ends: Vec<End>,
    conversations: Vec<Conversation>,
}

/// Runs a daemon for each of these ends and leaves the recording in the site.
pub(super) async fn record(site: &mut Site, ends: &[End], random: &mut Rng) {
    let mut recorder = Recorder::install(site);
    let mut notes = Notes { ends: ends.to_vec(), conversations: Vec::new() };
    let mut people = Arc::new(People { tokens: Vec::new() });
    for (life, end) in ends.iter().enumerate() {
        if life > 0 {
            recorder.next_log(site);
        }
        let daemon = site.start().await;
        let mut stage = Stage { daemon, life, said: Vec::new() };
        if life == 0 {
            people = Arc::new(stage.sign_up().await);
        }
        let kill_after = (*end == End::Kill).then(|| random.u32(MIN_BEFORE_KILL..=MAX_BEFORE_KILL));
        stage.play(&people, kill_after, random).await;
        if life + 1 == ends.len() {
            stage.drain(&people).await;
        }
        notes.conversations.append(&mut stage.said);
        match end {
            End::Stop => stage.daemon.stop().await,
            End::Kill => stage.daemon.kill().await,
        }
        keep_files(site, life);
    }
    fs::write(site.path().join(NOTES), serde_json::to_vec(&notes).unwrap()).unwrap();
    site.unset_all();
}

impl Recording {
    /// Reads what [`record`] left.
    pub(super) fn read(site: &Site) -> Self {
        let notes: Notes =
            serde_json::from_slice(&fs::read(site.path().join(NOTES)).unwrap()).unwrap();
        let mut records = Vec::new();
        let mut lives = Vec::new();
        for (number, end) in notes.ends.into_iter().enumerate() {
            let begin = records.len();
            records.append(&mut read_log(site.path(), number));
            let left = kept_files(site, number);
            lives.push(Life { records: begin..records.len(), end, left });
        }
        Self { records, lives, conversations: notes.conversations }
    }
}

/// A daemon and what is said to it.
struct Stage {
    daemon: Daemon,
    life: usize,
    said: Vec<Conversation>,
}

impl Stage {
    async fn sign_up(&mut self) -> People {
        let mut tasks = JoinSet::new();
        for part in 0..REGISTRARS {
            let mut talker = self.talker(false, &Arc::new(Semaphore::new(0))).await;
            let some = PEOPLE * part / REGISTRARS..PEOPLE * (part + 1) / REGISTRARS;
            tasks.spawn(async move {
                let tokens = sign_up(&mut talker, some).await.unwrap();
                (part, tokens, talker.into_conversation())
            });
        }
        let mut parts = tasks.join_all().await;
        parts.sort_by_key(|(part, ..)| *part);
        let mut tokens = Vec::new();
        for (_, mut some, conversation) in parts {
            tokens.append(&mut some);
            self.said.push(conversation);
        }
        People { tokens }
    }

    /// Has all parts played, to the end or until so many replies have come.
    async fn play(&mut self, people: &Arc<People>, kill_after: Option<u32>, random: &mut Rng) {
        let answered = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        for part in PARTS {
            let about_account = matches!(part, Part::Churner(_));
            let mut talker = self.talker(about_account, &answered).await;
            let (people, random) = (Arc::clone(people), random.fork());
            tasks.spawn(async move {
                let played = part.play(&mut talker, people, random).await;
                (played, talker.into_conversation())
            });
        }
        if let Some(enough) = kill_after {
            let permits = within("replies", answered.acquire_many(enough)).await;
            permits.unwrap().forget();
            self.daemon.begin_kill();
        }
        for (played, conversation) in tasks.join_all().await {
            assert!(played.is_ok() || kill_after.is_some(), "{played:?}");
            self.said.push(conversation);
        }
    }

    async fn drain(&mut self, people: &People) {
        let mut talker = self.talker(false, &Arc::new(Semaphore::new(0))).await;
        drain(&mut talker, people).await.unwrap();
        self.said.push(talker.into_conversation());
    }

    async fn talker(&self, about_account: bool, answered: &Arc<Semaphore>) -> Talker {
        let answered = Arc::clone(answered);
        Talker::connect(self.daemon.address(), self.life, about_account, answered).await
    }
}

/// Copies what is on the disk now.
fn keep_files(site: &Site, life: usize) {
    let disk = fs::canonicalize(site.disk()).unwrap();
    for (path, content) in files_below(&disk) {
        let copy = kept(site, life).join(path.strip_prefix(&disk).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, content).unwrap();
    }
}

/// Those copies, under the paths they were copied from.
fn kept_files(site: &Site, life: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let disk = fs::canonicalize(site.disk()).unwrap();
    let kept = kept(site, life);
    let back =
        |(path, content): (PathBuf, _)| (disk.join(path.strip_prefix(&kept).unwrap()), content);
    files_below(&kept).into_iter().map(back).collect()
}

fn kept(site: &Site, life: usize) -> PathBuf {
    Path::join(site.path(), format!("left.{life}"))
}

const NOTES: &str = "notes.json";
/// Connections that make the accounts.
const REGISTRARS: usize = 4;
const MIN_BEFORE_KILL: u32 = 200;
const MAX_BEFORE_KILL: u32 = 600;
