//! Locks that are taken whatever has happened. A ground room.
//!
//! Always holds: a panic while a lock was held poisons it for nobody. What is behind our locks is whole between any two
//! statements, or counted anew; and a process that goes on after a panic is worth more than one that panics again.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Takes a lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    whole(mutex.lock())
}

/// Takes a lock to read.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    whole(lock.read())
}

/// Takes a lock to write.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    whole(lock.write())
}

/// What a lock or a wait for it gives.
pub fn whole<T>(taken: Result<T, PoisonError<T>>) -> T {
    taken.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_a_lock_was_held_does_not_poison_it() {
        let (mutex, shared) = (Mutex::new(1), RwLock::new(1));
        let panicked = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = (lock(&mutex), write(&shared));
                panic!("on purpose");
            });
            holder.join().is_err()
        });
        assert!(panicked);
        assert_eq!((*lock(&mutex), *read(&shared)), (1, 1));
    }
}
