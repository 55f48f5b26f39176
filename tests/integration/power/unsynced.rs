//! A start must make durable what it found before it shows it: a killed daemon may leave commits that were never synced.

use chat_tests::client::TextClient;
use chat_tests::daemon::{PASSWORD, Site};
use chat_tests::disk::{Disk, Mood, Shelf, files_below};
use chat_tests::recorder::Recorder;
use fastrand::Rng;

#[tokio::test]
async fn what_a_start_shows_outlasts_the_power() {
    let mut site =
        Site::new("[accounts]\nregistration = true\n[store]\ndurability = \"process-crash\"\n");
    let mut recorder = Recorder::install(&mut site);
    let mut disk = Disk::new(site.disk().canonicalize().unwrap());
    let apply = |disk: &mut Disk, recorder: &Recorder| {
        recorder.last_log().iter().for_each(|record| disk.apply(record));
    };

    // A message that was not synced, and the daemon is killed.
    let daemon = site.start().await;
    let mut ana = TextClient::connect(daemon.address()).await;
    ana.ok(&format!("register ana {PASSWORD}")).await;
    let token =
        ana.ok(&format!("auth ana {PASSWORD}")).await["tokenid"].as_str().unwrap().to_owned();
    ana.ok(&format!("send {token} ana unsure")).await;
    daemon.kill().await;
    apply(&mut disk, &recorder);
    disk.process_ended(&files_below(&site.disk().canonicalize().unwrap()));

    // The next start shows it, and the power fails.
    recorder.next_log(&mut site);
    let daemon = site.start().await;
    let mut ana = TextClient::connect(daemon.address()).await;
    let shown = ana.mailbox(&token).await;
    assert_eq!(shown.len(), 1, "the commit was there, only not synced");
    apply(&mut disk, &recorder);
    daemon.kill().await;
    let shelf = Shelf::new(site.path().join("shelf"), &site.disk());
    let image = disk.after_power_loss(Mood::NOTHING, &mut Rng::with_seed(0));
    image.lay_out(&site.disk(), &shelf);

    site.unset_all();
    let daemon = site.start().await;
    assert_eq!(TextClient::connect(daemon.address()).await.mailbox(&token).await, shown);
    daemon.stop().await;
}
