//! What the page's worker calls: one file of evidence in, and step after step a report out.
//!
//! The calls have numbers only. The file is written into memory that [`room`] makes; every other call leaves a report,
//! a JSON document, at [`report`] for [`report_bytes`], until the next call. A worker checks one file: whoever has
//! another starts another worker.
//!
//! | call | does | then the report is |
//! | --- | --- | --- |
//! | [`load`] | reads the file in the room | a [`Summary`], or `{"error"}` |
//! | [`begin`] | starts at a step | `{"progress"}`, or `{"error"}` |
//! | [`advance`] | takes some steps | `{"progress"}`, with the [`Outcome`] at the end, or `{"error"}` |

mod session;

use std::cell::RefCell;

use models::replay::evidence::MEMORY_BYTES_MAX;
use session::Session;
pub use session::{Outcome, Said, Summary};

/// What a call came to.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done, and there is more to do.
    GoOn = 0,
    /// The check has ended.
    Done = 1,
    /// It was refused: the report says why.
    Refused = 2,
}

#[derive(Debug, Default)]
struct Memory {
    room: Vec<u8>,
    session: Option<Session>,
    report: Vec<u8>,
}

thread_local! {
    /// A worker has one thread.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Bytes of memory that a check may take, the file's included; a larger file need not be read.
#[unsafe(no_mangle)]
pub extern "C" fn memory_bytes_max() -> u32 {
    u32::try_from(MEMORY_BYTES_MAX).unwrap_or(u32::MAX)
}

/// Where a file of so many bytes goes; null if there is no room for it.
#[unsafe(no_mangle)]
pub extern "C" fn room(bytes: u32) -> *mut u8 {
    MEMORY.with_borrow_mut(|memory| {
        let bytes = bytes as usize;
        let mut room = Vec::new();
        if bytes as u64 > MEMORY_BYTES_MAX || room.try_reserve_exact(bytes).is_err() {
            return std::ptr::null_mut();
        }
        room.resize(bytes, 0);
        memory.room = room;
        memory.room.as_mut_ptr()
    })
}

/// Reads the file in the room.
#[unsafe(no_mangle)]
pub extern "C" fn load() -> u32 {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| {
        // Whatever was going on has the memory: the module is not called again after this.
        let said = format!("the checker failed, which is a mistake in it: {panic}");
        MEMORY.with(|memory| {
            if let Ok(mut memory) = memory.try_borrow_mut() {
                memory.report = session::refused(&said);
            }
        });
    }));
    MEMORY.with_borrow_mut(|memory| {
        let (session, said) = Session::load(std::mem::take(&mut memory.room));
        memory.session = session;
        memory.take(said)
    })
}

/// Starts after a step of which the file has the state, or with 0 at the beginning.
#[unsafe(no_mangle)]
pub extern "C" fn begin(step: u32) -> u32 {
    call(|session| session.begin(step.into()))
}

/// Takes up to so many steps.
#[unsafe(no_mangle)]
pub extern "C" fn advance(steps: u32) -> u32 {
    call(|session| session.advance(steps))
}

/// Where the report of the last call is.
#[unsafe(no_mangle)]
pub extern "C" fn report() -> *const u8 {
    MEMORY.with_borrow(|memory| memory.report.as_ptr())
}

/// How long it is.
#[unsafe(no_mangle)]
pub extern "C" fn report_bytes() -> u32 {
    MEMORY.with_borrow(|memory| memory.report.len() as u32)
}

fn call(run: impl FnOnce(&mut Session) -> Said) -> u32 {
    // Out of the memory while it runs: a panic's report must get in.
    let session = MEMORY.with_borrow_mut(|memory| memory.session.take());
    let Some(mut session) = session else {
        let said = Said { status: Status::Refused, report: session::refused("no file has been loaded") };
        return MEMORY.with_borrow_mut(|memory| memory.take(said));
    };
    let said = run(&mut session);
    MEMORY.with_borrow_mut(|memory| {
        memory.session = Some(session);
        memory.take(said)
    })
}

impl Memory {
    fn take(&mut self, said: Said) -> u32 {
        self.report = said.report;
        said.status as u32
    }
}
