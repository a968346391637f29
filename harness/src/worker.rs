//! One worker: ask, invoke, record; a new process id after an indefinite outcome.

use std::time::Duration;

use checker::EventKind;
use cluster::store::Store;
use workloads::{Client, Generator, Next, Operation};

use crate::lookout::Halt;
use crate::recorder::{Broken, Recorder};

/// A worker's identity and what it lives by.
pub struct Worker<C> {
    /// The process id of its next call.
    pub process: u64,
    /// By how much the id grows when it retires; the number of workers.
    pub stride: u64,
    /// Its hands.
    pub client: C,
    /// How long it waits for one call.
    pub op_timeout: Duration,
}

impl<C: Client> Worker<C> {
    /// Works until the generator is done, it is told to halt, or the journal breaks.
    pub async fn work<S: Store>(
        &mut self,
        mut generator: impl Generator<Input = C::Input>,
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
        let call = op.call();
        let (f, key) = (call.f, call.key.clone());
        recorder.invoke(self.process, call)?;
        let completion = match tokio::time::timeout(self.op_timeout, self.client.call(store, &op)).await {
            Ok(completion) => completion,
            Err(_) => self.client.timed_out(&op),
        };
        let kind = completion.kind;
        recorder.complete(self.process, f, key, completion)?;
        if kind == EventKind::Info {
            self.process += self.stride;
        }
        Ok(kind)
    }
}
