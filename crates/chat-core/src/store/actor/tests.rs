use std::sync::{Arc, Mutex};

use super::*;
use crate::store::backend::Pages;
use crate::store::request::Answer;
use crate::store::{Outgoing, SessionKey};
use crate::{SystemClock, Timestamp};

const COMMIT: Duration = Duration::from_micros(400);

fn pause(requests: usize, weight: usize, took: Duration) -> Option<Duration> {
    Served { requests, weight }.pause(took)
}

#[test]
fn many_small_requests_are_given_time_to_come_again() {
    assert_eq!(pause(40, 40, COMMIT), Some(COMMIT / 8));
    assert_eq!(pause(40, 40, Duration::from_secs(1)), Some(LONGEST_PAUSE));
}

#[test]
fn nobody_waits_where_it_does_not_pay() {
    assert_eq!(pause(1, 1, COMMIT), None, "one caller");
    assert_eq!(pause(40, 640, COMMIT), None, "a commit that is full of messages");
    assert_eq!(pause(40, 40, COMMIT / 4), None, "a commit that costs little");
}

/// A backend that writes down what it is told to do and which answers left meanwhile, and takes nothing that [`Backend`] says
/// does not come. Operations have numbers, in the order of asking.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    log: Vec<String>,
    /// Where the answer to each operation arrives, until it has.
    asked: Vec<Option<oneshot::Receiver<Outcome>>>,
    carried_out: usize,
    /// The operations whose commit is under way, and whether what they were carried out on is gone.
    under_way: Option<(Vec<usize>, bool)>,
    prepared: bool,
    /// The commit of these fails.
    failing: Vec<usize>,
    /// How many steps of work there are to do at once.
    steps: usize,
}

impl Recorder {
    fn look<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.0.lock().unwrap();
        record.listen();
        look(&mut record)
    }

    /// Has the operations wait in a queue that takes no more, and a store that ends once it has served them.
    async fn serve(&self, operations: Vec<Operation>) -> String {
        let (requests, waiting) = mpsc::channel(100);
        for operation in operations {
            self.ask(&requests, operation).await;
        }
        drop(requests);
        self.run(waiting).await;
        self.log()
    }

    fn log(&self) -> String {
        self.look(|record| record.log.join(", "))
    }

    async fn ask(&self, requests: &mpsc::Sender<Request>, operation: Operation) {
        let (answer, asked) = oneshot::channel();
        self.look(|record| record.asked.push(Some(asked)));
        requests.send(Request::Run(operation, Some(answer))).await.unwrap();
    }

    async fn run(&self, waiting: mpsc::Receiver<Request>) {
        let options = ActorOptions { batch: 1, clock: Arc::new(SystemClock) };
        run(waiting, self.clone(), options, watch::channel(None).0).await;
    }
}

impl Record {
    fn note(&mut self, what: &str, operations: &[usize]) {
        let numbers: Vec<_> = operations.iter().map(ToString::to_string).collect();
        self.log.push(format!("{what} {}", numbers.join(" ")).trim_end().into());
    }

    /// Writes down which answers have left.
    fn listen(&mut self) {
        for number in 0..self.asked.len() {
            let Some(asked) = &mut self.asked[number] else { continue };
            let what = match asked.try_recv() {
                Ok(Ok(Answer::Count(answered))) if answered == to_u64(number) => "answered",
                Ok(Err(StoreError::Unavailable)) => "refused",
                Err(oneshot::error::TryRecvError::Empty) => continue,
                other => panic!("{number} got {other:?}"),
            };
            self.asked[number] = None;
            self.note(what, &[number]);
        }
    }

    fn carry_out(&mut self, operations: &[Operation]) -> Vec<usize> {
        assert!(!self.prepared, "a step is ready, and tells nothing of this");
        let first = self.carried_out;
        self.carried_out += operations.len();
        (first..self.carried_out).collect()
    }

    /// What becomes of a commit, and of what was built on it.
    fn end(&mut self, operations: Vec<usize>, is_lost: bool) -> (Vec<Outcome>, bool) {
        let fails = is_lost || operations.iter().any(|number| self.failing.contains(number));
        self.note(if fails { "failed" } else { "settled" }, &operations);
        self.prepared &= !fails;
        let outcome = |number| match fails {
            true => Err(StoreError::Unavailable),
            false => Ok(Answer::Count(to_u64(number))),
        };
        (operations.into_iter().map(outcome).collect(), fails)
    }

    fn settle(&mut self) -> (Vec<Outcome>, bool) {
        match self.under_way.take() {
            Some((operations, is_lost)) => self.end(operations, is_lost),
            None => (Vec::new(), false),
        }
    }
}

impl Backend for Recorder {
    fn run(&mut self, operations: Vec<Operation>, _: Timestamp) -> Vec<Outcome> {
        self.look(|record| {
            assert!(record.under_way.is_none(), "a commit is under way");
            let operations = record.carry_out(&operations);
            record.end(operations, false).0
        })
    }

    fn run_ahead(&mut self, operations: Vec<Operation>, _: Timestamp) -> Vec<Outcome> {
        self.look(|record| {
            let operations = record.carry_out(&operations);
            let (before, is_lost) = record.settle();
            record.note("begun", &operations);
            record.under_way = Some((operations, is_lost));
            before
        })
    }

    fn prepare(&mut self, _: Timestamp) {
        self.look(|record| {
            record.note("prepared", &[]);
            record.prepared = true;
        });
    }

    fn settle(&mut self) -> Vec<Outcome> {
        self.look(|record| record.settle().0)
    }

    fn work(&mut self, _: Timestamp) -> Option<Duration> {
        self.look(|record| {
            assert!(record.under_way.is_none(), "a commit is under way");
            let what = if std::mem::take(&mut record.prepared) { "put" } else { "worked" };
            record.note(what, &[]);
            record.steps = record.steps.checked_sub(1)?;
            Some(Duration::ZERO)
        })
    }

    fn pages(&self) -> Arc<dyn Pages> {
        unreachable!("the actor reads none")
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.look(|record| assert!(record.under_way.is_none(), "a commit is under way"));
        Ok(())
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

fn send() -> Operation {
    Operation::Send(vec![Outgoing::new(SessionKey([0; 32]), "lineker", "halo")])
}

fn sends(count: usize) -> Vec<Operation> {
    std::iter::repeat_with(send).take(count).collect()
}

#[tokio::test(start_paused = true)]
async fn sends_are_carried_out_ahead_and_answered_once_they_are_settled() {
    let log = Recorder::default().serve(sends(3)).await;
    let expected = "worked, begun 0, settled 0, begun 1, answered 0, settled 1, begun 2, answered 1, \
        settled 2, answered 2";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn everything_else_waits_for_what_is_under_way() {
    let others = [Operation::BeginImport, Operation::BeginImport];
    let log = Recorder::default().serve(sends(1).into_iter().chain(others).collect()).await;
    let expected = "worked, begun 0, settled 0, answered 0, settled 1, answered 1, worked, settled 2, \
        answered 2, worked";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn work_is_made_ready_beside_a_commit_and_put_once_that_is_settled() {
    let recorder = Recorder::default();
    recorder.look(|record| record.steps = 2);
    let log = recorder.serve(sends(3)).await;
    let expected = "worked, begun 0, prepared, settled 0, answered 0, put, begun 1, prepared, \
        settled 1, answered 1, put, begun 2, settled 2, answered 2";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn a_long_row_of_sends_leaves_time_for_work() {
    let log = Recorder::default().serve(sends(2 * MOST_AHEAD + 1)).await;
    let rows: Vec<_> = log.split(", put").collect();
    let begun: Vec<_> = rows.iter().map(|row| row.matches("begun").count()).collect();
    assert_eq!(begun, [MOST_AHEAD, MOST_AHEAD, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_built_on_a_commit_that_fails_fails_and_what_comes_later_does_not() {
    let recorder = Recorder::default();
    recorder.look(|record| record.failing = vec![1]);
    let log = recorder.serve(sends(3).into_iter().chain([Operation::BeginImport]).collect()).await;
    let expected = "worked, begun 0, settled 0, begun 1, answered 0, failed 1, begun 2, refused 1, \
        failed 2, refused 2, settled 3, answered 3, worked";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_after_a_commit_that_took_the_step_beside_it_along() {
    let recorder = Recorder::default();
    recorder.look(|record| (record.failing, record.steps) = (vec![0], 3));
    let log = recorder.serve(sends(2)).await;
    let expected = "worked, begun 0, prepared, failed 0, refused 0, worked, begun 1, prepared, \
        settled 1, answered 1, put";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_answered_though_nobody_asks_any_more() {
    let recorder = Recorder::default();
    let (requests, waiting) = mpsc::channel(1);
    recorder.ask(&requests, send()).await;
    let minute = tokio::time::timeout(Duration::from_secs(60), recorder.run(waiting)).await;
    assert!(minute.is_err(), "it waits for more");
    assert_eq!(recorder.log(), "worked, begun 0, settled 0, answered 0, worked");
}
