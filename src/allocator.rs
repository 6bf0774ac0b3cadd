//! What the program asks of the C library's allocator. A setting of the whole process, made once, before there are threads.
//!
//! Writing and reading pass large pieces through memory: frames of some twenty kilobytes, which live as long as their
//! generation is open, and the storage's buffers of a segment each. glibc keeps what is freed of them for later, in as many
//! arenas as there are threads, and keeps the more the larger the pieces were that it has seen freed. `rodent bench log
//! generations` tells what each way of it costs and gains on a machine.

use serde::{Deserialize, Serialize};

/// How freed memory is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocator {
    /// As the C library does by itself.
    Unchanged,
    /// Large pieces go back to the system at once, and so does the free end of an arena; two arenas for all threads. What
    /// the agent does: a third of the memory less, for a few hundredths of the speed of writing.
    #[default]
    Bounded,
    /// As much as a frame goes back at once; paid for with a page fault for every page of every frame.
    Mapped,
}

/// Fixed, so that it does not grow with the pieces that are freed, bytes: what glibc begins with.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 * 1024;

/// Less than a frame, bytes.
#[cfg(target_env = "gnu")]
const FRAME_BYTES: libc::c_int = 16 * 1024;

/// One for the log's writer, which allocates most, and one for the others.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

impl Allocator {
    /// All of them.
    pub const ALL: [Allocator; 3] = [Allocator::Unchanged, Allocator::Bounded, Allocator::Mapped];

    /// Its name in text.
    pub fn name(self) -> &'static str {
        match self {
            Allocator::Unchanged => "unchanged",
            Allocator::Bounded => "bounded",
            Allocator::Mapped => "mapped",
        }
    }

    /// Makes the process' allocator so. Gives whether it could be told: only glibc's can.
    #[cfg(target_env = "gnu")]
    pub fn apply(self) -> bool {
        let options: &[_] = match self {
            Allocator::Unchanged => &[],
            Allocator::Bounded => &[
                (libc::M_MMAP_THRESHOLD, LARGE_BYTES),
                (libc::M_TRIM_THRESHOLD, LARGE_BYTES),
                (libc::M_ARENA_MAX, ARENAS),
            ],
            Allocator::Mapped => &[(libc::M_MMAP_THRESHOLD, FRAME_BYTES)],
        };
        options.iter().all(|&(option, value)| {
            #[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
            // SAFETY: takes two numbers and refuses what it does not know; glibc locks its own state.
            let done = unsafe { libc::mallopt(option, value) };
            done == 1
        })
    }

    /// Makes the process' allocator so. Gives whether it could be told: only glibc's can.
    #[cfg(not(target_env = "gnu"))]
    pub fn apply(self) -> bool {
        self == Allocator::Unchanged
    }
}
