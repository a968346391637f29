//! Whether the client of a site lives: what the nemesis wants of it, and what its thread says of itself.
//!
//! A client is one thread with all it has: its calls, timers, connections and sessions. Halted, it is to everybody else
//! what a process is under SIGSTOP. Its end closes its sockets as the kernel closes those of a process under SIGKILL: no
//! call is answered any more, no session says goodbye (`docs/decisions/0014-a-client-is-a-thread.md`).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nemesis::{Part, Victim};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// How long a client may take to be as it should.
const BOUND: Duration = Duration::from_secs(2);

/// How a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Lives,
    Halted,
    Dead,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Standing::Lives => "alive",
            Standing::Halted => "halted",
            Standing::Dead => "dead",
        }
    }
}

#[derive(Debug)]
struct State {
    wanted: Standing,
    is: Standing,
    /// What its thread said of itself when it last changed.
    said: String,
    /// The run needs it no more.
    is_over: bool,
}

/// The life of one client, shared by its thread and the nemesis.
#[derive(Debug)]
pub struct Life {
    state: Mutex<State>,
    changed: Condvar,
    bell: Notify,
}

impl Default for Life {
    fn default() -> Self {
        let state =
            State { wanted: Standing::Lives, is: Standing::Dead, said: String::new(), is_over: false };
        Life { state: Mutex::new(state), changed: Condvar::new(), bell: Notify::new() }
    }
}

/// What the nemesis does: each waits until it is seen, and says what was seen.
impl Life {
    /// Ends it in the middle of whatever it does.
    pub fn kill(&self) -> Result<String, String> {
        self.turn(Standing::Dead)
    }

    /// Lets it begin anew, with no memory.
    pub fn restart(&self) -> Result<String, String> {
        self.require(Standing::Dead)?;
        self.turn(Standing::Lives)
    }

    /// Lets it do nothing at all any more.
    pub fn halt(&self) -> Result<String, String> {
        self.require(Standing::Lives)?;
        self.turn(Standing::Halted)
    }

    /// Lets it go on, as if no time had passed.
    pub fn resume(&self) -> Result<String, String> {
        self.require(Standing::Halted)?;
        self.turn(Standing::Lives)
    }

    /// True while it is dead.
    pub fn is_dead(&self) -> bool {
        self.lock().is == Standing::Dead
    }

    fn require(&self, wanted: Standing) -> Result<(), String> {
        match self.lock().is {
            is if is == wanted => Ok(()),
            is => Err(format!("the client is {}", is.word())),
        }
    }

    fn turn(&self, wanted: Standing) -> Result<String, String> {
        let mut state = self.lock();
        if state.is_over {
            return Err("the client has nothing more to do".into());
        }
        let before = std::mem::replace(&mut state.wanted, wanted);
        self.bell.notify_one();
        self.changed.notify_all();
        let deadline = Instant::now() + BOUND;
        while state.is != wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_over {
                // Nobody will undo what was not done.
                state.wanted = if wanted == Standing::Lives { wanted } else { before };
                let is = state.is.word();
                return Err(format!("the client is {is} after {} s", BOUND.as_secs()));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state.said.clone())
    }

    /// Whoever waits for the client, or is halted, is let go: the run is over.
    pub fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.wanted = Standing::Lives;
        self.bell.notify_one();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_now(&self, state: &mut State, is: Standing, said: String) {
        (state.is, state.said) = (is, said);
        self.changed.notify_all();
    }
}

/// What the client's own thread does.
impl Life {
    /// It works from here on.
    pub fn lives(&self) {
        let mut state = self.lock();
        self.is_now(&mut state, Standing::Lives, format!("works again (thread {})", nix::unistd::gettid()));
    }

    /// Comes back when it is to die. While it is halted, nothing on this thread goes on.
    pub async fn beat(&self) {
        loop {
            let wanted = self.lock().wanted;
            match wanted {
                Standing::Dead => return,
                Standing::Halted => self.stand_still(),
                Standing::Lives => self.bell.notified().await,
            }
        }
    }

    fn stand_still(&self) {
        let (began, cpu) = (Instant::now(), cpu_time());
        let mut state = self.lock();
        let thread = nix::unistd::gettid();
        self.is_now(&mut state, Standing::Halted, format!("stands still (thread {thread})"));
        while state.wanted == Standing::Halted {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let used = cpu_time().saturating_sub(cpu);
        let said = format!(
            "goes on after {:.3} s, in which it had {} µs of processor time (thread {thread})",
            began.elapsed().as_secs_f64(),
            used.as_micros()
        );
        self.is_now(&mut state, Standing::Lives, said);
    }

    /// It is dead; waits until it may begin anew. False when the run needs it no more.
    pub fn lie_dead(&self, said: String) -> bool {
        let mut state = self.lock();
        self.is_now(&mut state, Standing::Dead, said);
        while state.wanted != Standing::Lives {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_over
    }
}

/// The processor time this thread has had.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// TCP connections of the network namespace that this thread is in; none if it shares it with the whole harness.
pub fn connections() -> Option<usize> {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).ok();
    if namespace("thread-self")? == namespace("self")? {
        return None;
    }
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").ok()?;
    const ESTABLISHED: &str = "01";
    Some(table.lines().skip(1).filter(|line| line.split_whitespace().nth(3) == Some(ESTABLISHED)).count())
}

/// The lives of all clients of a run, by node.
#[derive(Debug, Default)]
pub struct Lives(BTreeMap<String, Arc<Life>>);

impl Lives {
    /// One for each of these nodes.
    pub fn on(nodes: &[String]) -> Lives {
        Lives(nodes.iter().map(|node| (node.clone(), Arc::default())).collect())
    }

    /// The client of a node.
    pub fn at(&self, node: &str) -> Arc<Life> {
        self.0.get(node).cloned().unwrap_or_default()
    }

    /// The client that is meant, if it is one.
    pub fn of(&self, victim: &Victim) -> Option<&Life> {
        (victim.part == Part::Client).then(|| self.0.get(&victim.node))?.map(|life| &**life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A client that counts, on a thread of its own.
    fn counting() -> (Arc<Life>, Arc<AtomicU64>, std::thread::JoinHandle<u32>) {
        let (life, count) = (Arc::new(Life::default()), Arc::new(AtomicU64::new(0)));
        let (its, counts) = (life.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            let mut lives = 0;
            loop {
                lives += 1;
                let runtime = super::super::runtime().unwrap();
                let killed = runtime.block_on(async {
                    its.lives();
                    let work = async {
                        while !its.lock().is_over {
                            counts.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    };
                    tokio::select! { biased; () = its.beat() => true, () = work => false }
                });
                if !killed || !its.lie_dead("dead".into()) {
                    return lives;
                }
            }
        });
        while life.is_dead() {
            std::thread::sleep(Duration::from_millis(1));
        }
        (life, count, thread)
    }

    /// Whether the count grows within some time.
    fn grows(count: &AtomicU64) -> bool {
        let before = count.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        count.load(Ordering::SeqCst) > before
    }

    #[test]
    fn a_halted_client_does_nothing_and_goes_on_where_it_was() {
        let (life, count, thread) = counting();
        assert!(grows(&count));
        assert!(life.halt().unwrap().starts_with("stands still"));
        assert!(!grows(&count));
        assert_eq!(life.halt(), Err("the client is halted".into()));
        let said = life.resume().unwrap();
        assert!(said.starts_with("goes on after 0."), "{said}");
        assert!(grows(&count));
        life.end();
        assert_eq!(thread.join().unwrap(), 1);
        assert!(life.kill().is_err(), "it is over");
    }

    #[test]
    fn a_killed_client_begins_anew_and_one_that_is_halted_can_be_killed() {
        let (life, count, thread) = counting();
        assert_eq!(life.kill(), Ok("dead".into()));
        assert!(!grows(&count) && life.is_dead());
        assert_eq!(life.resume(), Err("the client is dead".into()), "that is not how the dead come back");
        assert!(life.restart().unwrap().starts_with("works again"));
        assert!(grows(&count));
        life.halt().unwrap();
        assert_eq!(life.kill(), Ok("dead".into()));
        life.end();
        assert_eq!(thread.join().unwrap(), 2);
    }
}
