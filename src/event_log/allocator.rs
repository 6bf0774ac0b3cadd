//! What the log asks of the C library's allocator. A setting of the whole process, made once, before there are threads.
//!
//! Frames of some twenty kilobytes live as long as their generation is open. glibc keeps what is freed of them for later;
//! told to give each such piece a mapping of its own, it returns them at once. That is paid for with a page fault
//! for every page of every frame. `rodent bench log generations` tells how much is gained and lost on a machine.

/// Pieces from this size on get mappings of their own, bytes: less than a frame and its compressor's buffers.
#[cfg(target_env = "gnu")]
const MAPPING_BYTES_MIN: libc::c_int = 16 * 1024;

/// Makes freed frames go back to the system at once. Gives whether the allocator does so: only glibc's is told.
pub fn return_freed_frames() -> bool {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
    {
        // SAFETY: takes two numbers; glibc locks its own state, and the threshold may change at any time.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPING_BYTES_MIN) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    false
}
