//! How much work the compiler does: the bytes it looks at, counted in tests, where a property says that they are a fixed
//! number for each byte of the format. Time would say so only on a quiet machine.

/// Notes that so many bytes were looked at.
#[cfg(not(test))]
pub(super) const fn count(_bytes: usize) {}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Notes that so many bytes were looked at.
#[cfg(test)]
pub(super) fn count(bytes: usize) {
    STEPS.set(STEPS.get() + bytes);
}

/// What was noted while the work was done.
#[cfg(test)]
pub(super) fn of(work: impl FnOnce()) -> usize {
    let before = STEPS.get();
    work();
    STEPS.get() - before
}
