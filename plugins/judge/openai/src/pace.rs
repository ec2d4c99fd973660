//! How many requests are under way: as many as allowed, fewer while the server asks for fewer.

/// The number of requests that may be under way.
///
/// It halves at a 429 and grows back by one for each round of answers. A server that says how many
/// requests are left is believed.
#[derive(Clone, Debug)]
pub struct Pace {
    most: f64,
    now: f64,
    left: Option<u64>,
}

impl Pace {
    /// At most `most` at a time, at least one.
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            most,
            now: most,
            left: None,
        }
    }

    /// At most `most` at a time from now on. What was learnt of the server stays.
    pub fn allow(&mut self, most: usize) {
        let most = most.max(1) as f64;
        if self.now >= self.most {
            self.now = most;
        }
        self.most = most;
        self.now = self.now.min(most);
    }

    /// Requests that may be under way now: at least one.
    pub fn limit(&self) -> usize {
        let now = self.now as usize;
        let left = self.left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        now.min(left).max(1)
    }

    /// A request was answered; `left` is what `x-ratelimit-remaining-requests` says.
    pub fn answered(&mut self, left: Option<u64>) {
        self.now = (self.now + 1.0 / self.now).min(self.most);
        self.left = left;
    }

    /// The server asked for fewer requests.
    pub fn slow_down(&mut self) {
        self.now = (self.now / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_429_halves_and_answers_bring_it_back() {
        let mut pace = Pace::new(16);
        pace.slow_down();
        pace.slow_down();
        assert_eq!(pace.limit(), 4);
        for _ in 0..9 {
            pace.slow_down();
        }
        assert_eq!(pace.limit(), 1);
        let mut n = 0;
        while pace.limit() < 16 {
            pace.answered(None);
            n += 1;
        }
        assert!((100..200).contains(&n), "{n} answers");
        pace.answered(None);
        assert_eq!(pace.limit(), 16);
    }

    #[test]
    fn what_was_learnt_holds_for_another_limit() {
        let mut pace = Pace::new(16);
        pace.slow_down();
        pace.allow(64);
        assert_eq!(pace.limit(), 8);
        pace.allow(4);
        assert_eq!(pace.limit(), 4);
        pace.allow(32);
        assert_eq!(pace.limit(), 32);
    }

    #[test]
    fn what_the_server_has_left_is_not_exceeded() {
        let mut pace = Pace::new(16);
        pace.answered(Some(3));
        assert_eq!(pace.limit(), 3);
        pace.answered(Some(0));
        assert_eq!(pace.limit(), 1);
        pace.answered(Some(500));
        assert_eq!(pace.limit(), 16);
        assert_eq!(Pace::new(0).limit(), 1);
    }
}
