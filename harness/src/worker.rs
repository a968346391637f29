//! One worker: ask, invoke, record; a new process id after an indefinite outcome.

use std::time::Duration;

use checker::EventKind;
use cluster::store::Store;
use workloads::{Client, Completion, Generator, Next, Operation};

use crate::lookout::Halt;
use crate::recorder::{Broken, Recorder};

/// A worker's identity and what it lives by.
pub struct Worker<C: Client> {
    /// The process id of its next call.
    pub process: u64,
    /// By how much the id grows when it retires; the number of workers.
    pub stride: u64,
    /// Its hands.
    pub client: C,
    /// How long it waits for one call.
    pub op_timeout: Duration,
    /// The call that is not answered yet.
    open: Option<C::Op>,
}

/// Error text of a call that is open when its client is killed.
const KILLED: &str = "the client was killed";

impl<C: Client> Worker<C> {
    /// One that has called nothing yet.
    pub fn new(process: u64, stride: u64, client: C, op_timeout: Duration) -> Self {
        Worker { process, stride, client, op_timeout, open: None }
    }

    /// Works until the generator is done, it is told to halt, or the journal breaks.
    pub async fn work<S: Store>(
        &mut self,
        generator: &mut impl Generator<Input = C::Input>,
        store: &mut S,
        recorder: &Recorder,
        halt: &Halt,
    ) -> Result<(), Broken> {
        while !halt.asked() {
            match generator.next(recorder.clock().now_ns()) {
                Next::Invoke(input) => drop(self.call(&input, store, recorder).await?),
                Next::Wait { until_ns } => {
                    let wake = recorder.clock().origin() + Duration::from_nanos(until_ns);
                    tokio::time::sleep_until(wake.into()).await;
                }
                Next::Done => break,
            }
        }
        Ok(())
    }

    /// One call, recorded at both ends; the kind of its completion.
    pub async fn call<S: Store>(
        &mut self,
        input: &C::Input,
        store: &mut S,
        recorder: &Recorder,
    ) -> Result<EventKind, Broken> {
        let op = self.client.prepare(input);
        recorder.invoke(self.process, op.call())?;
        let op = self.open.insert(op);
        let answered = tokio::time::timeout(self.op_timeout, self.client.call(store, op)).await;
        let completion = answered.unwrap_or_else(|_| self.client.timed_out(op));
        self.close(completion, recorder)
    }

    /// Its process was killed: nobody can say what became of a call that was open, and who comes after it has another
    /// process id and other hands. True if a call was open; only then is there something to record.
    pub fn bury(&mut self, hands: C, recorder: Option<&Recorder>) -> Result<bool, Broken> {
        let (process, was_open) = (self.process, self.open.is_some());
        if let (Some(op), Some(recorder)) = (&self.open, recorder) {
            let completion = Completion { error: Some(KILLED.into()), ..self.client.timed_out(op) };
            self.close(completion, recorder)?;
        }
        self.process = process + self.stride;
        self.client = hands;
        Ok(was_open)
    }

    fn close(&mut self, completion: Completion, recorder: &Recorder) -> Result<EventKind, Broken> {
        let kind = completion.kind;
        if let Some(op) = self.open.take() {
            let call = op.call();
            recorder.complete(self.process, call.f, call.key, completion)?;
        }
        if kind == EventKind::Info {
            self.process += self.stride;
        }
        Ok(kind)
    }
}
