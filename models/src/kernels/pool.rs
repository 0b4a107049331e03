//! Threads that kernels share work among; they sleep while there is none.
//!
//! Work is cut into tasks that write apart from each other, so which thread does what cannot change a bit.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::environment;

/// Threads at most.
pub const THREADS_MAX: usize = 256;

/// Threads that this machine runs at once, as far as the system lets this process; 1 where it does not say.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX))
}

/// A number of threads, the caller's among them.
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Held by whoever hands out work: one job at a time.
    busy: Mutex<()>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    next: usize,
    tasks: usize,
    running: usize,
    stop: bool,
    panic: Option<Box<dyn Any + Send>>,
}

/// A task's code, alive until [`Pool::run`] returns.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));
// SAFETY: it points to something `Sync`, and `run` does not return while a helper may still use it.
unsafe impl Send for Job {}

thread_local! {
    /// Whether this thread is inside a task: a task that hands out work does it alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// A pool of `threads`, 1 to [`THREADS_MAX`] (what lies outside is moved inside). Threads the system refuses
    /// are done without.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), done: Condvar::new() });
        let helpers = (1..threads.clamp(1, THREADS_MAX)).map_while(|at| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("kernels-{at}")).spawn(move || shared.help()).ok()
        });
        Self { helpers: helpers.collect(), busy: Mutex::default(), shared }
    }

    /// Threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `work` for every task below `tasks`, in no order; returns when all are done.
    ///
    /// # Panics
    /// If a task panics.
    pub fn run(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.helpers.is_empty() || tasks < 2 || INSIDE.get() {
            (0..tasks).for_each(work);
            return;
        }
        let _alone = lock(&self.busy);
        // SAFETY: only the lifetime changes; this function returns after the last use.
        let job = Job(unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(
                &raw const *work,
            )
        });
        let mut state = lock(&self.shared.state);
        (state.job, state.next, state.tasks) = (Some(job), 0, tasks);
        // A helper costs a system call to wake: no more of them than there are tasks beside the caller's.
        (1..tasks.min(self.threads())).for_each(|_| self.shared.work.notify_one());
        state = self.shared.take_tasks(state, job);
        while state.running > 0 {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
        let panic = state.panic.take();
        drop(state);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Cuts `0..count` into as many even ranges as there are threads, each a multiple of `grain` but the last, and
    /// runs `work` for each.
    pub fn ranges(&self, count: usize, grain: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
        let grains = count.div_ceil(grain);
        let tasks = self.threads().min(grains);
        self.run(tasks, &|task| {
            let at = |task: usize| (grains * task / tasks * grain).min(count);
            work(at(task)..at(task + 1));
        });
    }

    /// Cuts `items`, rows of `width`, into as many runs of rows as there are threads, none shorter than `rows_min`
    /// (but the last); `work` gets the first row's number and the run.
    pub fn rows<T: Send>(
        &self,
        items: &mut [T],
        width: usize,
        rows_min: usize,
        work: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let rows = items.len() / width.max(1);
        assert_eq!(items.len(), rows * width);
        let parts = Parts::new(items);
        self.ranges(rows, rows_min.max(1), &|range| {
            // SAFETY: ranges do not overlap.
            work(range.start, unsafe { parts.slice(range.start * width..range.end * width) });
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.work.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper's panic has reached whoever handed out the work.
            drop(helper.join());
        }
    }
}

impl Shared {
    fn help(&self) {
        // The environment is inherited on some systems only; a thread of its own starts with the default.
        let environment = environment::check();
        let mut state = lock(&self.state);
        while !state.stop {
            match state.job {
                Some(job) if state.next < state.tasks => {
                    if let Err(error) = environment {
                        state.panic = Some(Box::new(error.to_string()));
                    }
                    state = self.take_tasks(state, job);
                    if state.running == 0 {
                        self.done.notify_one();
                    }
                }
                _ => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn take_tasks<'a>(&'a self, mut state: MutexGuard<'a, State>, job: Job) -> MutexGuard<'a, State> {
        state.running += 1;
        while state.next < state.tasks && state.panic.is_none() {
            let task = state.next;
            state.next += 1;
            drop(state);
            let before = INSIDE.replace(true);
            // SAFETY: `run` waits until `running` is 0, so the code is still there.
            let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*job.0)(task) }));
            INSIDE.set(before);
            state = lock(&self.state);
            if let Err(panic) = done {
                state.panic = Some(panic);
            }
        }
        state.running -= 1;
        state
    }
}

/// Nothing panics while it holds one of these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slice whose parts are written by several tasks.
#[derive(Debug)]
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}
// SAFETY: it hands out exclusive parts of a slice that may itself be sent.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// # Safety
    /// No two tasks may hold ranges that overlap.
    ///
    /// # Panics
    /// If the range lies outside of the slice.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the caller's promise")]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice, and exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 3, 100] {
                let seen: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|task| {
                    seen[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn ranges_and_rows_cover_everything_once() {
        let pool = Pool::new(3);
        for count in [0, 1, 5, 64, 1000] {
            let mut items = vec![0usize; 2 * count];
            pool.rows(&mut items, 2, 7, &|first, rows| {
                rows.iter_mut().zip(2 * first..).for_each(|(item, at)| *item += at + 1);
            });
            assert!(items.iter().zip(1..).all(|(item, want)| *item == want));
        }
    }

    /// Nanoseconds that a thread has run, as Linux counts them.
    #[cfg(target_os = "linux")]
    fn run_ns(thread: &std::path::Path) -> u64 {
        let text = std::fs::read_to_string(std::path::Path::new("/proc").join(thread).join("schedstat"));
        text.unwrap().split(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn helpers_sleep_while_there_is_no_work() {
        let pool = Pool::new(2);
        let here = || std::fs::read_link("/proc/thread-self").unwrap();
        let (own, helper) = (here(), Mutex::new(None));
        let met = std::sync::Barrier::new(2);
        pool.run(2, &|_| {
            // Neither thread can do both.
            met.wait();
            if here() != own {
                *helper.lock().unwrap() = Some(here());
            }
        });
        let helper = helper.into_inner().unwrap().unwrap();
        let before = [run_ns(&own), run_ns(&helper)];
        while run_ns(&own) < before[0] + 200_000_000 {}
        let idle = run_ns(&helper) - before[1];
        assert!(idle < 10_000_000, "{idle} ns while the other thread ran for 200 ms");
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(4);
        let failed = catch_unwind(AssertUnwindSafe(|| pool.run(50, &|task| assert!(task != 30, "task 30"))));
        assert!(failed.unwrap_err().downcast_ref::<&str>() == Some(&"task 30"));
        let sum = AtomicUsize::new(0);
        pool.run(10, &|task| {
            // A task that hands out work does it itself.
            pool.run(2, &|_| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 90);
    }
}
