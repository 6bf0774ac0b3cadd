//! What the agent holds in memory stays there: its token and keys among it.

use nix::sys::prctl;

/// Makes the kernel write no core of this process, neither to a file nor to a program that collects them, and keeps other
/// processes of the same user from reading its memory. A limit on the size of cores would not reach such programs. Root
/// can still attach a debugger; programs that this process starts are not touched.
pub fn keep_memory_private() {
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, "a crash of the agent may leave its secrets in a core dump");
    }
}
