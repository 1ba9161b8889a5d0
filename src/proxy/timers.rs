//! Time bounds of what is usually done long before them. A timer is set, and taken off again, under a lock and in a
//! wheel; here it is kept instead, as it was set, for the next wait: that wait's bound is later, and a timer that fires
//! too early is only looked at again.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

/// Unused timers that are kept: more requests than this wait at one time only in a burst.
const KEPT_MAX: usize = 256;

/// Timers that no wait has now. Of one worker: they belong to its runtime.
#[derive(Debug, Default)]
pub struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// The bound was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed;

impl Timers {
    /// What `future` becomes, unless that takes until `deadline`. It is lent: taken by value, it would have its place here
    /// twice, once where it came in and once where it is polled.
    pub async fn until<F: Future>(&self, deadline: Instant, mut future: Pin<&mut F>) -> Result<F::Output, Passed> {
        let mut wait = Wait { timers: self, timer: None };
        std::future::poll_fn(move |context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let timer = wait.timer_for(deadline);
            loop {
                std::task::ready!(timer.as_mut().poll(context));
                if Instant::now() >= deadline {
                    return Poll::Ready(Err(Passed));
                }
                timer.as_mut().reset(deadline);
            }
        })
        .await
    }

    fn take(&self) -> Option<Pin<Box<Sleep>>> {
        self.0.borrow_mut().pop()
    }

    fn keep(&self, timer: Pin<Box<Sleep>>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(timer);
        }
    }
}

/// A wait that has a timer since it had to wait.
struct Wait<'t> {
    timers: &'t Timers,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait<'_> {
    /// A timer that fires no later than `deadline`.
    fn timer_for(&mut self, deadline: Instant) -> &mut Pin<Box<Sleep>> {
        let timer = self.timer.get_or_insert_with(|| {
            let kept = self.timers.take();
            kept.unwrap_or_else(|| Box::pin(sleep_until(deadline)))
        });
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        timer
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.timers.keep(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_bound_although_its_timer_was_set_for_later() {
        let timers = Timers::default();
        let brief = pin!(tokio::time::sleep(milliseconds(1)));
        assert_eq!(timers.until(Instant::now() + HOUR, brief).await, Ok(()));
        for _ in 0..2 {
            let deadline = Instant::now() + milliseconds(10);
            assert_eq!(timers.until(deadline, pin!(std::future::pending::<()>())).await, Err(Passed));
            assert!(Instant::now() >= deadline);
            assert_eq!(timers.0.borrow().len(), 1, "one timer serves them all");
        }
    }

    #[tokio::test]
    async fn the_bound_of_an_earlier_wait_does_not_end_a_later_one() {
        let timers = Timers::default();
        let brief = pin!(tokio::time::sleep(milliseconds(1)));
        assert_eq!(timers.until(Instant::now() + milliseconds(20), brief).await, Ok(()));
        let longer = pin!(tokio::time::sleep(milliseconds(50)));
        assert_eq!(timers.until(Instant::now() + HOUR, longer).await, Ok(()), "the kept timer fired on the way");
    }

    #[tokio::test]
    async fn what_is_ready_needs_no_timer() {
        let timers = Timers::default();
        assert_eq!(timers.until(Instant::now() + HOUR, pin!(async { 7 })).await, Ok(7));
        assert!(timers.0.borrow().is_empty());
    }
}
