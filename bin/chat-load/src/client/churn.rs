//! Connections that are closed on purpose and made anew.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use super::Client;
use crate::login::{LoginError, Wire, reconnect};
use crate::outcome::Kind;
use crate::tally::{Tally, lock};

impl Client {
    /// Closes the connection, and makes another in its place until there is one or time is up.
    pub(super) async fn reconnect(&mut self, tally: &Mutex<Tally>) {
        self.bell.left();
        lock(tally).connections.churned += 1;
        // An orderly end first: what was read counts as delivered then.
        let _ = self.wire.stream.shutdown().await;
        loop {
            let begun = Instant::now();
            let attempt = reconnect(&self.plan, self.number, self.dialect.token()).await;
            let now = Instant::now();
            self.report_reconnect(&attempt, begun, now, &mut lock(tally));
            if let Ok(wire) = attempt {
                self.wire = wire;
                return;
            }
            if self.window.is_over(now) {
                return;
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    fn report_reconnect(
        &self,
        attempt: &Result<Wire, LoginError>,
        begun: Instant,
        now: Instant,
        tally: &mut Tally,
    ) {
        if self.window.holds(begun) {
            tally.offered(Kind::Reconnect, 1);
        }
        match attempt {
            Ok(_) => {
                tally.answered += 1;
                tally.connections.made += 1;
                tally.done(Kind::Reconnect, begun, now, &self.window);
            }
            Err(error) => {
                let cause = error.to_string();
                tally.refused(Kind::Reconnect, cause, begun, now, &self.window);
            }
        }
    }
}

/// Time for a server that was not there to come back.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
